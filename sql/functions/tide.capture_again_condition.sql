CREATE OR REPLACE FUNCTION tide.capture_again_condition(table_id integer, event text)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    -- The inner subquery stays one: a join might be planned for a table that was small. EXCEPT is
    -- never planned as a nested loop.
    SELECT format('EXISTS (SELECT FROM %s AS tide_o WHERE (SELECT true FROM %s AS tide_n WHERE %s))',
               CASE event WHEN 'DELETE' THEN 'deleted' ELSE format('(SELECT %1$s FROM before EXCEPT SELECT %1$s FROM updated)', k.names) END,
               s.relation, k.same)
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL (
               SELECT string_agg(quote_ident(e.column_name), ', ') AS names,
                      string_agg(format('tide_n.%1$I OPERATOR(%2$s) tide_o.%1$I', e.column_name, e.equality), ' AND ') AS same
                 FROM tide.key_equality(s.table_id) AS e) AS k
     WHERE s.table_id = capture_again_condition.table_id;
$$;
COMMENT ON FUNCTION tide.capture_again_condition(integer, text) IS 'SQL expression over the transition tables of a statement: a key that it took away is there. Internal.';
