CREATE OR REPLACE FUNCTION tide.key_text(table_name regclass, key jsonb)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.relation = key_text.table_name);
    v_key   text;
BEGIN
    IF v_table.table_id IS NULL THEN
        v_table := tide.registered_table(key_text.table_name);
    END IF;
    -- Values may be given as JSON numbers or as text: the log has text.
    SELECT '{' || string_agg(to_json(k.name)::text || ':' || to_json(key ->> k.name)::text, ',' ORDER BY k.ordinal) || '}'
      INTO v_key
      FROM unnest(v_table.key_columns) WITH ORDINALITY AS k (name, ordinal);
    IF v_key IS NULL THEN
        RAISE EXCEPTION 'key does not fit table %', table_name
            USING ERRCODE = 'TD003',
                  DETAIL  = format('Given: %s.', key),
                  HINT    = format('Its key columns are: %s.', array_to_string(v_table.key_columns, ', '));
    END IF;
    RETURN v_key;
END;
$$;
COMMENT ON FUNCTION tide.key_text(regclass, jsonb) IS 'Key of a row as the log has it. Raises TD003, TD009. Internal.';
