CREATE OR REPLACE FUNCTION tide.buckets_beside_tree(table_id integer, row_alias text, level integer)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(' || ',
               '(' || tide.own_buckets(buckets_beside_tree.table_id, row_alias) || ')',
               string_agg(format('(SELECT %s FROM %s AS tide_p%s WHERE %s)', tide.bucket_expression(p.parent_id, 'tide_p' || level, level + 1), p.parent, level, p.joined),
                          ' || ' ORDER BY p.parent_ordinal))
      FROM (SELECT c.parent_ordinal, c.parent_id, c.parent,
                   string_agg(format('tide_p%s.%I OPERATOR(%s) %s.%I::%s', level, c.key_column, c.key_equality, row_alias, c.fk_column, c.key_type), ' AND ') AS joined
              FROM tide.parent_columns(buckets_beside_tree.table_id) AS c
             WHERE c.parent_id <> buckets_beside_tree.table_id
             GROUP BY c.parent_ordinal, c.parent_id, c.parent) AS p
    HAVING tide.own_buckets(buckets_beside_tree.table_id, row_alias) IS NOT NULL OR count(*) > 0;
$$;
COMMENT ON FUNCTION tide.buckets_beside_tree(integer, text, integer) IS 'SQL expression for the buckets of a row but for those it inherits from rows of its own table, NULL when there are none. Internal.';
