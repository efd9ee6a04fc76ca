CREATE OR REPLACE FUNCTION tide.unknown_columns(rows tide.pushed_row[])
    RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    -- Most rows of a push have the same columns.
    WITH unknown AS (
        SELECT d.table_id, d.columns, min(c.name) AS name
          FROM (SELECT DISTINCT r.table_id, r.columns FROM unnest(rows) AS r) AS d
         CROSS JOIN LATERAL unnest(d.columns) AS c (name)
         WHERE c.name NOT IN (SELECT k.column_name FROM tide.synced_columns(d.table_id) AS k WHERE k.in_payload)
         GROUP BY d.table_id, d.columns
    )
    SELECT json_agg(tide.rejection_body(r, '42703', format('column %s does not exist, or is not synced', to_json(u.name)), NULL, u.name) ORDER BY r.ordinal)
      FROM unnest(rows) AS r JOIN unknown AS u ON u.table_id = r.table_id AND u.columns = r.columns;
$$;
COMMENT ON FUNCTION tide.unknown_columns(tide.pushed_row[]) IS 'Pushed rows with a column that the table does not have by exactly that name, as the wire has them; NULL for none. Internal.';
