CREATE OR REPLACE FUNCTION tide.deleted_expression(table_id integer, row_alias text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT format('%s.%I %s', row_alias, c.current_name, CASE WHEN c.base_type = 'bool'::regtype THEN 'IS TRUE' ELSE 'IS NOT NULL' END)
      FROM tide.synced_table AS s CROSS JOIN LATERAL tide.synced_columns(s.table_id) AS c
     WHERE s.table_id = deleted_expression.table_id AND s.deleted_at_column IS NOT NULL AND c.column_name = s.deleted_at_column);
END;
$$;
COMMENT ON FUNCTION tide.deleted_expression(integer, text) IS 'SQL expression that tells a softly deleted row, NULL when the table has none. Internal.';
