CREATE OR REPLACE FUNCTION tide.unknown_columns(rows tide.pushed_row[])
    RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT json_agg(tide.rejection_body(r, '42703', format('column %s does not exist, or is not synced', to_json(u.name)), NULL, u.name) ORDER BY r.ordinal)
              FROM unnest(rows) AS r
              JOIN tide.synced_table AS s ON s.table_id = r.table_id
             CROSS JOIN LATERAL (SELECT min(c.name) AS name FROM unnest(r.columns) AS c (name) WHERE c.name <> ALL (s.push_columns)) AS u
             WHERE u.name IS NOT NULL);
END;
$$;
COMMENT ON FUNCTION tide.unknown_columns(tide.pushed_row[]) IS 'Pushed rows with a column that the table does not have by exactly that name, as the wire has them; NULL for none. Internal.';
