CREATE OR REPLACE FUNCTION tide.source_shape(user_id text, source_id text)
    RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_known jsonb;
    v_now   jsonb;
    v_gone  text;
BEGIN
    IF (SELECT t.shape_id = s.shape_id FROM tide.source AS s CROSS JOIN tide.setting AS t WHERE s.user_id = source_shape.user_id AND s.source_id = source_shape.source_id) IS NOT FALSE THEN
        RETURN NULL;
    END IF;
    SELECT k.tables, n.tables
      INTO v_known, v_now
      FROM tide.source AS s
      CROSS JOIN tide.setting AS t
      JOIN tide.shape AS k ON k.shape_id = s.shape_id
      JOIN tide.shape AS n ON n.shape_id = t.shape_id
     WHERE s.user_id = source_shape.user_id AND s.source_id = source_shape.source_id;
    SELECT string_agg(CASE WHEN v_now -> k.name IS NULL THEN k.name ELSE k.name || '.' || c.name END, ', ')
      INTO v_gone
      FROM jsonb_each(v_known) AS k (name, columns)
     CROSS JOIN LATERAL jsonb_array_elements_text(k.columns) AS c (name)
     WHERE v_now -> k.name IS NULL OR NOT jsonb_exists(v_now -> k.name, c.name);
    IF v_gone IS NOT NULL THEN
        RAISE EXCEPTION 'tables or columns that this device knows are gone'
            USING ERRCODE = 'TD014', DETAIL = format('Gone: %s.', left(v_gone, 500)), HINT = 'Take a snapshot: it is of what is left.';
    END IF;
    RETURN v_known;
END;
$$;
COMMENT ON FUNCTION tide.source_shape(text, text) IS
'Tables and columns that a device knows, when there are more by now; NULL when it knows all of them. Raises TD014 when some are gone.';
