CREATE OR REPLACE FUNCTION tide.bytea_array_json(items bytea[])
    RETURNS json
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_dimensions integer[];
    v_width      integer;
    v_level      text[] := ARRAY(SELECT coalesce('"' || translate(encode(i.item, 'base64'), chr(10), '') || '"', 'null') FROM unnest(items) AS i (item));
BEGIN
    IF items IS NULL THEN
        RETURN NULL;
    END IF;
    v_dimensions := ARRAY(SELECT array_length(items, d) FROM generate_series(1, array_ndims(items)) AS d);
    -- unnest walks the last dimension fastest: fold it up, one dimension at a time.
    FOR v_dimension IN REVERSE cardinality(v_dimensions) .. 2 LOOP
        v_width := v_dimensions[v_dimension];
        v_level := ARRAY(
            SELECT '[' || string_agg(l.item, ',' ORDER BY l.ordinal) || ']'
              FROM unnest(v_level) WITH ORDINALITY AS l (item, ordinal)
             GROUP BY (l.ordinal - 1) / v_width
             ORDER BY (l.ordinal - 1) / v_width
        );
    END LOOP;
    RETURN ('[' || array_to_string(v_level, ',') || ']')::json;
END;
$$;
COMMENT ON FUNCTION tide.bytea_array_json(bytea[]) IS 'JSON array of any dimension with each bytea in base64, as single bytea columns are sent. Internal.';
