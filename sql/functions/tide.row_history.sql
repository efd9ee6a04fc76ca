CREATE OR REPLACE FUNCTION tide.row_history(table_name regclass, key jsonb)
    RETURNS TABLE (change_id bigint, xid xid8, bundle_id bigint, op text, buckets text[], old_buckets text[], payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_key      text COLLATE "C" := tide.key_text(table_name, key);
    v_table_id integer := (SELECT s.table_id FROM tide.synced_table AS s WHERE s.relation = row_history.table_name);
BEGIN
    RETURN QUERY
    SELECT c.change_id, c.xid, b.bundle_id,
           CASE c.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' WHEN 'M' THEN 'MOVE' WHEN 'R' THEN 'JUDGE' ELSE 'READ' END,
           c.buckets, c.old_buckets, c.payload,
           CASE WHEN b.bundle_id IS NOT NULL THEN coalesce(b.source_id, 'server') END, coalesce(b.source_bundle_id, b.bundle_id), b.sealed_at
      FROM (SELECT k.xid, k.change_id FROM tide.key_log AS k WHERE k.key_hash = hashtextextended(v_key, v_table_id)
             UNION
            SELECT u.xid, u.change_id FROM tide.unsealed_changes() AS u WHERE u.key_hash = hashtextextended(v_key, v_table_id)) AS k
     CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = k.xid AND l.change_id = k.change_id OFFSET 0) AS c
      LEFT JOIN LATERAL (
               SELECT l.* FROM tide.bundle_log AS l
                WHERE l.bundle_id = (SELECT tide.position_of(c.xid)) AND l.xid = c.xid
                LIMIT 1) AS b ON true
     WHERE c.table_id = v_table_id AND c.row_key = v_key
     ORDER BY c.change_id;
END;
$$;
COMMENT ON FUNCTION tide.row_history(regclass, jsonb) IS 'Everything the log holds about one row, oldest first: SELECT * FROM tide.row_history(''app.task'', ''{"id": 42}''). bundle_id is NULL while a change is not sealed. op is INSERT, UPDATE, DELETE; READ where a seal read the row again, MOVE where its buckets changed because of other tables, JUDGE where that was asked for. Raises TD003, TD009.';
