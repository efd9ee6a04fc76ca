-- A row lies in the buckets of its own rule and in those of its parents, theirs, and so on. Written
-- as one expression over the row, which is right in whatever snapshot it runs. A table that is its
-- own parent is a tree: UNION makes an end also where its rows go in a circle.
CREATE OR REPLACE FUNCTION tide.bucket_expression(table_id integer, row_alias text, level integer DEFAULT 1)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = bucket_expression.table_id);
    v_deleted text := tide.deleted_expression(table_id, row_alias);
    v_above   text := 'tide_above' || level;
    v_buckets text := tide.buckets_beside_tree(table_id, row_alias, level);
    k         record;
BEGIN
    IF EXISTS (SELECT FROM unnest(v_table.key_columns || v_table.owner_column || v_table.deleted_at_column || string_to_array(array_to_string(v_table.parent_fks, ','), ',')) AS n
                WHERE n NOT IN (SELECT c.column_name FROM tide.synced_columns(v_table.table_id) AS c)) THEN
        RETURN format('tide.lost_column(%L)', v_table.relation);
    END IF;
    IF v_table.relation = ANY (v_table.parents) THEN
        SELECT string_agg(format('%s.%I', v_above, c.key_column), ', ') AS keys,
               string_agg(format('%s.%I', v_above, c.fk_column), ', ') AS references,
               string_agg(format('%s.%I OPERATOR(%s) %s.%I::%s', v_above, c.key_column, c.key_equality, row_alias, c.fk_column, c.key_type), ' AND ') AS of_row,
               string_agg(format('%s.%I OPERATOR(%s) tide_up.tide_f%s::%s', v_above, c.key_column, c.key_equality, c.key_ordinal, c.key_type), ' AND ') AS of_above,
               string_agg(format('%s.%I OPERATOR(%s) tide_up.tide_k%s', v_above, c.key_column, c.key_equality, c.key_ordinal), ' AND ') AS again,
               string_agg(format('tide_k%s', c.key_ordinal), ', ') || ', ' || string_agg(format('tide_f%s', c.key_ordinal), ', ') AS columns,
               coalesce(' AND (' || tide.deleted_expression(table_id, v_above) || ') IS NOT TRUE', '') AS alive
          INTO k
          FROM tide.parent_columns(table_id) AS c WHERE c.parent_id = bucket_expression.table_id;
        v_buckets := format($sql$%1$s || (
            WITH RECURSIVE tide_up (%2$s) AS (
                SELECT %3$s, %4$s FROM %5$s AS %6$s WHERE %7$s%8$s
                 UNION
                SELECT %3$s, %4$s FROM tide_up JOIN %5$s AS %6$s ON %9$s%8$s)
            SELECT array_agg(tide_b) FROM tide_up JOIN %5$s AS %6$s ON %10$s CROSS JOIN LATERAL unnest(%11$s) AS tide_b)$sql$,
            coalesce(v_buckets, 'NULL::text[]'), k.columns, k.keys, k.references, v_table.relation, v_above, k.of_row, k.alive, k.of_above, k.again,
            coalesce(tide.buckets_beside_tree(table_id, v_above, level + 1), 'NULL::text[]'));
    END IF;
    IF v_table.derived THEN
        v_buckets := format('tide.function_buckets(%s)', v_buckets);
    END IF;
    RETURN format(CASE WHEN v_deleted IS NULL THEN '%2$s' ELSE 'CASE WHEN %1$s THEN ''{}''::text[] ELSE %2$s END' END, v_deleted, coalesce(v_buckets, 'NULL::text[]'));
END;
$$;
COMMENT ON FUNCTION tide.bucket_expression(integer, text, integer) IS 'SQL expression for all buckets of one row of a table, in the snapshot it runs in. Internal.';
