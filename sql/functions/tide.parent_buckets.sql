-- What a row has of each parent is a matter of its foreign key alone: whoever judges many rows may
-- judge those of one parent together.
CREATE OR REPLACE FUNCTION tide.parent_buckets(
    table_id integer, row_alias text, level integer, with_tree boolean,
    OUT fk_columns name[], OUT buckets text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_relation regclass;
    v_parents  regclass[];
    v_above    text := 'tide_above' || level;
    v_alive    text;
BEGIN
    SELECT s.relation, s.parents INTO v_relation, v_parents FROM tide.synced_table AS s WHERE s.table_id = parent_buckets.table_id;
    IF v_parents = '{}' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT p.fk_columns,
           format('(SELECT %s FROM %s AS tide_p%s WHERE %s)', tide.bucket_expression(p.parent_id, 'tide_p' || level, level + 1), p.parent, level, p.joined)
      FROM (SELECT c.parent_id, c.parent, array_agg(c.fk_column ORDER BY c.key_ordinal) AS fk_columns,
                   string_agg(format('tide_p%s.%I OPERATOR(%s) %s.%I::%s', level, c.key_column, c.key_equality, row_alias, c.fk_column, c.key_type), ' AND ' ORDER BY c.key_ordinal) AS joined
              FROM tide.parent_columns(table_id) AS c
             WHERE c.parent_id <> parent_buckets.table_id
             GROUP BY c.parent_ordinal, c.parent_id, c.parent
             ORDER BY c.parent_ordinal) AS p;
    IF NOT with_tree OR v_relation <> ALL (v_parents) THEN
        RETURN;
    END IF;
    v_alive := coalesce(' AND (' || tide.deleted_expression(table_id, v_above) || ') IS NOT TRUE', '');
    -- A table that is its own parent is a tree: UNION makes an end also where its rows go in a circle.
    RETURN QUERY
    SELECT k.fk_columns, format($sql$(
            WITH RECURSIVE tide_up (%1$s) AS (
                SELECT %2$s, %3$s FROM %4$s AS %5$s WHERE %6$s%7$s
                 UNION
                SELECT %2$s, %3$s FROM tide_up JOIN %4$s AS %5$s ON %8$s%7$s)
            SELECT array_agg(tide_b) FROM tide_up JOIN %4$s AS %5$s ON %9$s CROSS JOIN LATERAL unnest(%10$s) AS tide_b)$sql$,
            k.columns, k.keys, k.references, v_relation, v_above, k.of_row, v_alive, k.of_above, k.again,
            coalesce(tide.buckets_beside_tree(table_id, v_above, level + 1), 'NULL::text[]'))
      FROM (SELECT array_agg(c.fk_column ORDER BY c.key_ordinal) AS fk_columns,
                   string_agg(format('%s.%I', v_above, c.key_column), ', ') AS keys,
                   string_agg(format('%s.%I', v_above, c.fk_column), ', ') AS references,
                   string_agg(format('%s.%I OPERATOR(%s) %s.%I::%s', v_above, c.key_column, c.key_equality, row_alias, c.fk_column, c.key_type), ' AND ') AS of_row,
                   string_agg(format('%s.%I OPERATOR(%s) tide_up.tide_f%s::%s', v_above, c.key_column, c.key_equality, c.key_ordinal, c.key_type), ' AND ') AS of_above,
                   string_agg(format('%s.%I OPERATOR(%s) tide_up.tide_k%s', v_above, c.key_column, c.key_equality, c.key_ordinal), ' AND ') AS again,
                   string_agg(format('tide_k%s', c.key_ordinal), ', ') || ', ' || string_agg(format('tide_f%s', c.key_ordinal), ', ') AS columns
              FROM tide.parent_columns(table_id) AS c WHERE c.parent_id = parent_buckets.table_id
            HAVING count(*) > 0) AS k;
END;
$$;
COMMENT ON FUNCTION tide.parent_buckets(integer, text, integer, boolean) IS 'SQL expressions over a row for the buckets it has of each parent, with_tree also of one in its own table, and the columns that decide them. Internal.';
