CREATE OR REPLACE FUNCTION tide.add_access_dependency(on_table regclass, user_column text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tide.watch_columns(on_table, ARRAY[user_column]);
    INSERT INTO tide.access_dependency (source_id, user_column)
    SELECT s.table_id, user_column FROM tide.synced_table AS s WHERE s.relation = on_table
        ON CONFLICT DO NOTHING;
    PERFORM tide.apply_registration(s, false, false) FROM tide.synced_table AS s WHERE s.relation = on_table;
END;
$$;
COMMENT ON FUNCTION tide.add_access_dependency(regclass, text) IS
'Declares that a table decides which buckets users may read: when a row changes there, the devices of the user in user_column, before and after, hear of it in their home bucket. Raises TD001, TD003, TD007, TD008.';
