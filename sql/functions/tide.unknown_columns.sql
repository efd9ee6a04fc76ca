CREATE OR REPLACE FUNCTION tide.unknown_columns(rows tide.pushed_row[])
    RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_agg(tide.rejection_body(u.pushed, '42703', format('column %s of table %s.%s does not exist, or is not synced', to_json(u.name), s.table_schema, s.table_name), NULL, u.name)
                    ORDER BY (u.pushed).ordinal)
      FROM (SELECT r AS pushed, (r).table_id,
                   (SELECT c FROM unnest((r).columns) AS c
                     WHERE c NOT IN (SELECT n FROM tide.synced_table AS s CROSS JOIN LATERAL unnest(s.sync_columns) AS n WHERE s.table_id = (r).table_id) LIMIT 1) AS name
              FROM unnest(rows) AS r) AS u
      JOIN tide.synced_table AS s ON s.table_id = u.table_id
     WHERE u.name IS NOT NULL;
$$;
COMMENT ON FUNCTION tide.unknown_columns(tide.pushed_row[]) IS 'Pushed rows with a column that the table does not have by exactly that name, as the wire has them; NULL for none. Internal.';
