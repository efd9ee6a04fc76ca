CREATE OR REPLACE FUNCTION tide.buckets_beside_tree(table_id integer, row_alias text, level integer)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(' || ', '(' || tide.own_buckets(buckets_beside_tree.table_id, row_alias) || ')', string_agg(p.buckets, ' || '))
      FROM tide.parent_buckets(table_id, row_alias, level, false) AS p
    HAVING tide.own_buckets(buckets_beside_tree.table_id, row_alias) IS NOT NULL OR count(*) > 0;
$$;
COMMENT ON FUNCTION tide.buckets_beside_tree(integer, text, integer) IS 'SQL expression for the buckets of a row but for those it inherits from rows of its own table, NULL when there are none. Internal.';
