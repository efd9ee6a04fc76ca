CREATE OR REPLACE FUNCTION tide.conflict_bodies(user_id text, source_id text, rows tide.pushed_row[], judged json, images json[], OUT conflicts json, OUT unsealed boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_agg(row_to_json(b) ORDER BY r.ordinal), bool_or(v.version IS NULL)
      FROM json_to_recordset(judged) AS j (ordinal bigint, row_exists boolean, deleted boolean, changed_by xid8)
      JOIN unnest(rows) AS r ON r.ordinal = j.ordinal
      JOIN tide.synced_table AS s ON s.table_id = r.table_id
     CROSS JOIN (SELECT tide.source_shape(user_id, source_id) AS shape OFFSET 0) AS k
      LEFT JOIN (SELECT (e ->> 'ordinal')::bigint AS ordinal, e -> 'payload' AS payload FROM unnest(images) AS e) AS i ON i.ordinal = r.ordinal
     -- Once for each transaction (OFFSET 0 keeps it so): it has to be looked for, and often changed them all.
      JOIN (SELECT d.xid, tide.home_version(user_id, nullif(d.xid, '0')) AS version
              FROM (SELECT DISTINCT coalesce(e.changed_by, '0') AS xid FROM json_to_recordset(judged) AS e (changed_by xid8)) AS d
            OFFSET 0) AS v ON v.xid = coalesce(j.changed_by, '0')
     CROSS JOIN LATERAL (
               SELECT s.table_schema AS schema, s.table_name AS "table", r.row_key::json AS key, tide.op_name(r.op) AS op, r.base AS base_row_version,
                      CASE WHEN j.row_exists AND i.payload IS NOT NULL OR j.deleted
                           -- Not sealed yet: the newest position there is, which is older.
                           THEN coalesce(v.version, CASE WHEN tide.is_cursor_push() THEN tide.head() ELSE (SELECT p.head_seq FROM tide.bucket_position(tide.home_bucket(user_id)) AS p) END)
                           ELSE 0 END AS server_row_version,
                      j.deleted AS server_row_deleted,
                      CASE WHEN j.row_exists AND k.shape IS NULL THEN i.payload
                           WHEN j.row_exists THEN tide.project_payload(i.payload, k.shape -> (s.table_schema || '.' || s.table_name)) END AS server_row
           ) AS b;
$$;
COMMENT ON FUNCTION tide.conflict_bodies(text, text, tide.pushed_row[], json, json[]) IS 'Conflicts as the wire has them, with the columns that the device knows; unsealed when one has no version yet. Internal.';
