CREATE OR REPLACE FUNCTION tide.rejection_body(pushed tide.pushed_row, state text, message text, constraint_name text DEFAULT NULL, column_name text DEFAULT NULL)
    RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_strip_nulls(json_build_object(
               'row_ordinal', pushed.ordinal, 'schema', s.table_schema, 'table', s.table_name, 'key', pushed.row_key::json,
               'op', tide.op_name(pushed.op), 'sqlstate', state,
               'constraint', nullif(constraint_name, ''), 'column', nullif(column_name, ''), 'detail', nullif(message, '')))
      FROM tide.synced_table AS s
     WHERE s.table_id = pushed.table_id;
$$;
COMMENT ON FUNCTION tide.rejection_body(tide.pushed_row, text, text, text, text) IS 'A refused row as the wire has it. Internal.';
