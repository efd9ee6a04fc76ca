-- A row lies in the buckets of its own rule and in those of its parents, theirs, and so on. Written
-- as one expression over the row, which is right in whatever snapshot it runs.
CREATE OR REPLACE FUNCTION tide.bucket_expression(table_id integer, row_alias text, level integer DEFAULT 1)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = bucket_expression.table_id);
    v_deleted text := tide.deleted_expression(table_id, row_alias);
    v_buckets text;
BEGIN
    IF EXISTS (SELECT FROM unnest(v_table.key_columns || v_table.owner_column || v_table.deleted_at_column || string_to_array(array_to_string(v_table.parent_fks, ','), ',')) AS n
                WHERE n NOT IN (SELECT c.column_name FROM tide.synced_columns(v_table.table_id) AS c)) THEN
        RETURN format('tide.lost_column(%L)', v_table.relation);
    END IF;
    v_buckets := concat_ws(' || ', '(' || tide.own_buckets(table_id, row_alias) || ')',
                           (SELECT string_agg(p.buckets, ' || ') FROM tide.parent_buckets(table_id, row_alias, level, true) AS p));
    IF v_table.derived THEN
        v_buckets := format('tide.function_buckets(%s)', v_buckets);
    END IF;
    RETURN format(CASE WHEN v_deleted IS NULL THEN '%2$s' ELSE 'CASE WHEN %1$s THEN ''{}''::text[] ELSE %2$s END' END, v_deleted, coalesce(nullif(v_buckets, ''), 'NULL::text[]'));
END;
$$;
COMMENT ON FUNCTION tide.bucket_expression(integer, text, integer) IS 'SQL expression for all buckets of one row of a table, in the snapshot it runs in. Internal.';
