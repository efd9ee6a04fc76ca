CREATE OR REPLACE FUNCTION tide.row_buckets(table_name regclass, key jsonb)
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := tide.registered_table(row_buckets.table_name);
    v_buckets text[];
BEGIN
    EXECUTE format('SELECT %s FROM %s AS tide_n WHERE %s', tide.bucket_expression(v_table.table_id, 'tide_n'), v_table.relation,
                   (SELECT string_agg(format('tide_n.%I OPERATOR(%s) %s', k.current_name, k.equality, k.value), ' AND ') FROM tide.key_columns(v_table.table_id, '$1') AS k))
       INTO v_buckets USING tide.key_text(row_buckets.table_name, key);
    RETURN v_buckets;
END;
$$;
COMMENT ON FUNCTION tide.row_buckets(regclass, jsonb) IS 'Buckets of a row by the rules, as the tables are now; NULL when there is no such row. Raises TD003, TD009, and what the rule raises.';
