CREATE OR REPLACE FUNCTION tide.renew_shape(user_id text, source_id text)
    RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_left jsonb;
BEGIN
    PERFORM tide.meet_source(user_id, source_id);
    SELECT coalesce(jsonb_object_agg(k.name, (SELECT coalesce(jsonb_agg(c.name ORDER BY c.name), '[]') FROM jsonb_array_elements_text(k.columns) AS c (name) WHERE jsonb_exists(n.tables -> k.name, c.name))), '{}')
      INTO v_left
      FROM tide.source AS s
      JOIN tide.setting AS t ON t.shape_id <> s.shape_id
      JOIN tide.shape AS n ON n.shape_id = t.shape_id
      JOIN tide.shape AS o ON o.shape_id = s.shape_id
     CROSS JOIN LATERAL jsonb_each(o.tables) AS k (name, columns)
     WHERE s.user_id = renew_shape.user_id AND s.source_id = renew_shape.source_id AND n.tables -> k.name IS NOT NULL;
    IF v_left = '{}' AND NOT EXISTS (SELECT FROM tide.source AS s JOIN tide.setting AS t ON t.shape_id <> s.shape_id
                                      WHERE s.user_id = renew_shape.user_id AND s.source_id = renew_shape.source_id) THEN
        RETURN NULL;
    END IF;
    UPDATE tide.source AS s SET shape_id = tide.shape_of(v_left)
     WHERE s.user_id = renew_shape.user_id AND s.source_id = renew_shape.source_id AND s.shape_id <> tide.shape_of(v_left);
    RETURN v_left;
END;
$$;
COMMENT ON FUNCTION tide.renew_shape(text, text) IS 'Takes what is gone out of what a device knows, as it fetches everything anew; NULL when it knows all there is. Internal.';
