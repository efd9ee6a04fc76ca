CREATE OR REPLACE FUNCTION tide.policies_sql(table_name regclass, write text DEFAULT NULL)
    RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table tide.synced_table := tide.registered_table(table_name);
BEGIN
    RETURN QUERY SELECT p.statement || ';' FROM tide.policies(v_table.table_id, coalesce(policies_sql.write, v_table.rls_write, 'readers')) AS p;
END;
$$;
COMMENT ON FUNCTION tide.policies_sql(regclass, text) IS 'Policies that tide.enable_rls makes, or would make, of the bucket rule of a table. Raises TD009.';
