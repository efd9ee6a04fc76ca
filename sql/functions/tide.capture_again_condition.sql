CREATE OR REPLACE FUNCTION tide.capture_again_condition(table_id integer, event text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The inner subquery stays one: a join might be planned for a table that was small. EXCEPT is
    -- never planned as a nested loop.
    RETURN format('EXISTS (SELECT FROM %s AS tide_o WHERE (SELECT true FROM %s AS tide_n WHERE %s))',
        CASE event
            WHEN 'DELETE' THEN 'deleted'
            ELSE format('(SELECT %1$s FROM before EXCEPT SELECT %1$s FROM updated)', (SELECT string_agg(quote_ident(k.column_name), ', ') FROM tide.key_equality(table_id) AS k))
        END,
        (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = capture_again_condition.table_id),
        tide.key_match(table_id, 'tide_n', 'tide_o'));
END;
$$;
COMMENT ON FUNCTION tide.capture_again_condition(integer, text) IS 'SQL expression over the transition tables of a statement: a key that it took away is there. Internal.';
