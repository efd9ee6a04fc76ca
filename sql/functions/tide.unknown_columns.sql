CREATE OR REPLACE FUNCTION tide.unknown_columns(rows tide.pushed_row[])
    RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_unknown text[];
BEGIN
    -- Most rows of a push have the same columns.
    SELECT array_agg(c.name)
      INTO v_unknown
      FROM (SELECT DISTINCT r.table_id, r.columns FROM unnest(rows) AS r) AS d
     CROSS JOIN LATERAL unnest(d.columns) AS c (name)
     WHERE c.name NOT IN (SELECT k.column_name FROM tide.synced_columns(d.table_id) AS k WHERE k.in_payload);
    IF v_unknown IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT json_agg(tide.rejection_body(r, '42703', format('column %s does not exist, or is not synced', to_json(u.name)), NULL, u.name) ORDER BY r.ordinal)
              FROM unnest(rows) AS r
             CROSS JOIN LATERAL (
                       SELECT min(c.name) AS name FROM unnest(r.columns) AS c (name)
                        WHERE c.name = ANY (v_unknown)
                          AND c.name NOT IN (SELECT k.column_name FROM tide.synced_columns(r.table_id) AS k WHERE k.in_payload)) AS u
             WHERE u.name IS NOT NULL);
END;
$$;
COMMENT ON FUNCTION tide.unknown_columns(tide.pushed_row[]) IS 'Pushed rows with a column that the table does not have by exactly that name, as the wire has them; NULL for none. Internal.';
