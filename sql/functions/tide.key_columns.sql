CREATE OR REPLACE FUNCTION tide.key_columns(
    table_id integer, row_key text,
    OUT ordinal bigint, OUT column_name text, OUT current_name name, OUT type text, OUT equality text, OUT value text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT k.ordinal, k.name, c.current_name, t.type, e.equality,
           format(CASE WHEN c.base_type = 'bytea'::regtype AND NOT c.is_array THEN 'decode(%s::json ->> %L, ''base64'')::%s' ELSE '(%s::json ->> %L)::%s' END, row_key, k.name, t.type)
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL unnest(s.key_columns) WITH ORDINALITY AS k (name, ordinal)
      JOIN tide.synced_columns(s.table_id) AS c ON c.column_name = k.name
     CROSS JOIN LATERAL tide.column_equality(s.relation, c.current_name) AS t
      JOIN tide.key_equality(s.table_id) AS e ON e.column_name = c.current_name
     WHERE s.table_id = key_columns.table_id
     ORDER BY k.ordinal;
END;
$$;
COMMENT ON FUNCTION tide.key_columns(integer, text) IS 'Key columns of a table in the order of its registration, with the expression that reads each from a row_key. Internal.';
