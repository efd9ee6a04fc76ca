CREATE OR REPLACE FUNCTION tide.set_shape()
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_names    jsonb   := (SELECT jsonb_build_object('schema', jsonb_object_agg(s.table_id, s.table_schema), 'table', jsonb_object_agg(s.table_id, s.table_name)) FROM tide.synced_table AS s);
    v_shape_id integer := tide.shape_of((
        SELECT coalesce(jsonb_object_agg(s.table_schema || '.' || s.table_name, to_jsonb(ARRAY(SELECT c FROM unnest(s.sync_columns) AS c ORDER BY c))), '{}')
          FROM tide.synced_table AS s WHERE s.unregistered_at IS NULL AND s.synced));
BEGIN
    UPDATE tide.setting AS s SET shape_id = v_shape_id, table_names = v_names WHERE (s.shape_id, s.table_names) IS DISTINCT FROM (v_shape_id, v_names);
END;
$$;
COMMENT ON FUNCTION tide.set_shape() IS 'Writes down which tables and columns are registered now, and what tables are and were called. Internal.';
