CREATE OR REPLACE FUNCTION tide.changed_columns(source_id integer, columns text[])
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('(tide_i.image ->> %L)::%s AS %I', c.column_name, t.type, c.column_name), ', ')
      FROM tide.synced_columns(source_id) AS c
      JOIN tide.synced_table AS s ON s.table_id = source_id
     CROSS JOIN LATERAL tide.column_equality(s.relation, c.current_name) AS t
     WHERE c.column_name = ANY (columns);
$$;
COMMENT ON FUNCTION tide.changed_columns(integer, text[]) IS 'Select list that makes columns of what capture noted beside a row (tide_i.image). Internal.';
