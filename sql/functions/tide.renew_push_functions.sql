CREATE OR REPLACE FUNCTION tide.renew_push_functions(rows tide.pushed_row[])
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM tide.write_push_functions(t.table_id) FROM (SELECT DISTINCT r.table_id FROM unnest(rows) AS r) AS t;
END;
$$;
COMMENT ON FUNCTION tide.renew_push_functions(tide.pushed_row[]) IS 'Writes the push functions of tables that were altered anew. Internal.';
