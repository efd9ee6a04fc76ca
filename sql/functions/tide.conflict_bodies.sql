CREATE OR REPLACE FUNCTION tide.conflict_bodies(user_id text, rows tide.pushed_row[], judged json, images json[])
    RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_agg(row_to_json(b) ORDER BY r.ordinal)
      FROM json_to_recordset(judged) AS j (ordinal bigint, row_exists boolean, deleted boolean, changed_by xid8)
      JOIN unnest(rows) AS r ON r.ordinal = j.ordinal
      JOIN tide.synced_table AS s ON s.table_id = r.table_id
      LEFT JOIN (SELECT (e ->> 'ordinal')::bigint AS ordinal, e -> 'payload' AS payload FROM unnest(images) AS e) AS i ON i.ordinal = r.ordinal
     CROSS JOIN LATERAL (
               SELECT s.table_schema AS schema, s.table_name AS "table", r.row_key::json AS key, tide.op_name(r.op) AS op, r.base AS base_row_version,
                      CASE WHEN j.row_exists AND i.payload IS NOT NULL OR j.deleted
                           -- Not sealed yet: the newest position there is, which is older.
                           THEN coalesce(tide.home_version(user_id, j.changed_by), (SELECT p.head_seq FROM tide.bucket_position(tide.home_bucket(user_id)) AS p))
                           ELSE 0 END AS server_row_version,
                      j.deleted AS server_row_deleted,
                      CASE WHEN j.row_exists THEN i.payload END AS server_row
           ) AS b;
$$;
COMMENT ON FUNCTION tide.conflict_bodies(text, tide.pushed_row[], json, json[]) IS 'Conflicts as the wire has them. Internal.';
