CREATE OR REPLACE FUNCTION tide.own_buckets(table_id integer, row_alias text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = own_buckets.table_id);
    v_owner   record;
    v_buckets text;
BEGIN
    IF v_table.bucket IS NOT NULL THEN
        RETURN format('%L::text[]', ARRAY[v_table.bucket]);
    ELSIF v_table.bucket_function IS NOT NULL THEN
        v_buckets := (
            SELECT format(CASE WHEN p.prorettype = 'text[]'::regtype THEN 'tide.function_buckets(%I.%I(%s))' ELSE 'tide.function_buckets(ARRAY[%I.%I(%s)])' END,
                          n.nspname, p.proname, row_alias)
              FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = tide.bucket_function_of(v_table.table_id));
        IF v_buckets IS NULL THEN
            RAISE EXCEPTION 'the bucket function of table % is gone', v_table.relation
                USING ERRCODE = 'TD005', DETAIL = format('It was %s.', v_table.bucket_function), HINT = 'Create it again, or register the table with another one.';
        END IF;
        RETURN v_buckets;
    ELSIF v_table.owner_column IS NOT NULL THEN
        SELECT * INTO v_owner FROM tide.synced_columns(v_table.table_id) AS c WHERE c.column_name = v_table.owner_column;
        IF v_owner IS NULL THEN
            RETURN format('tide.lost_column(%L)', v_table.relation);
        END IF;
        RETURN format(
            CASE WHEN v_owner.base_type = ANY ('{int2,int4,int8,oid,uuid}'::regtype[])
                 THEN 'CASE WHEN %1$s.%2$I IS NULL THEN %3$L::text[] ELSE ARRAY[%4$L || %1$s.%2$I::text] END'
                 -- A function call for each row would be felt.
                 ELSE 'CASE WHEN octet_length(%1$s.%2$I::text) <= %5$s THEN ARRAY[%4$L || %1$s.%2$I::text] WHEN %1$s.%2$I IS NULL THEN %3$L::text[] ELSE tide.owner_bucket(%4$L, %1$s.%2$I::text) END' END,
            row_alias, v_owner.current_name,
            array_remove(ARRAY[v_table.null_owner_bucket], NULL), v_table.bucket_prefix, 512 - octet_length(v_table.bucket_prefix));
    END IF;
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION tide.own_buckets(integer, text) IS 'SQL expression for the buckets that the row rule of a table gives one of its rows, NULL when it has none. Raises TD005. Internal.';
