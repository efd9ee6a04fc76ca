-- A page is as many whole bundles as fit, at least one. Its size is known from bundle_log alone, so
-- no change is read that is not returned. Rows come in the order of the log because nested loops
-- alone are allowed: to sort them, with their payloads, would cost more than to find them.
CREATE OR REPLACE FUNCTION tide.pull(
    bucket_id         text,
    after_bundle_seq  bigint  DEFAULT 0,
    max_bundles       integer DEFAULT 1000,
    max_bytes         bigint  DEFAULT 8388608,
    target_bundle_seq bigint  DEFAULT NULL
)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, bucket_ids text[], row_ordinal bigint, table_schema text, table_name text,
        key json, op text, payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
    SET work_mem = '16MB' -- a page
AS $$
#variable_conflict use_column
DECLARE
    v_position record;
    v_bucket   text COLLATE "C" := bucket_id;
    v_stable   bigint;
    v_whole    boolean := false;
    v_last     record;
BEGIN
    PERFORM tide.check_page(max_bundles, max_bytes);
    SELECT * INTO v_position FROM tide.bucket_position(v_bucket);
    IF after_bundle_seq IS NULL OR after_bundle_seq < v_position.floor_seq OR after_bundle_seq > v_position.head_seq THEN
        RAISE EXCEPTION 'bundles after position % of bucket % are not in the log', coalesce(after_bundle_seq::text, 'NULL'), v_bucket
            USING ERRCODE = 'TD014',
                  DETAIL  = format('Its log goes from %s to %s.', v_position.floor_seq, v_position.head_seq),
                  HINT    = 'Take a snapshot of the bucket, and go on from its position.';
    END IF;
    v_stable := least(coalesce(nullif(target_bundle_seq, 0), v_position.head_seq), v_position.head_seq);
    IF EXISTS (SELECT FROM tide.bucket_source) THEN
        -- Where rows moved because of other tables, only all bundles of the seal are what the rules say. In a
        -- long seal they are moved by its last step.
        SELECT p.bundle_seq, s.last_bundle_id, s.has_derived
          INTO v_last
          FROM (SELECT b.bundle_seq, b.seal_id
                  FROM (SELECT l.bundle_seq, l.seal_id, l.byte_count, sum(l.byte_count) OVER (ORDER BY l.bundle_seq ROWS UNBOUNDED PRECEDING) - l.byte_count AS bytes_before
                          FROM tide.bundle_log AS l
                         WHERE l.bucket_id = v_bucket AND l.bundle_seq > after_bundle_seq AND l.bundle_seq <= v_stable
                         ORDER BY l.bundle_seq LIMIT max_bundles) AS b
                 WHERE b.bytes_before = 0 OR b.bytes_before + b.byte_count <= max_bytes
                 ORDER BY b.bundle_seq DESC LIMIT 1) AS p
         CROSS JOIN LATERAL (SELECT w.last_bundle_id, w.has_derived FROM tide.seal_log AS w WHERE w.seal_id >= p.seal_id AND w.cut_change_id IS NULL ORDER BY w.seal_id LIMIT 1) AS s;
        IF v_last.has_derived THEN
            v_whole := true;
            v_stable := coalesce((SELECT l.bundle_seq - 1 FROM tide.bundle_log AS l
                                   WHERE l.bucket_id = v_bucket AND l.bundle_seq > v_last.bundle_seq AND l.bundle_seq <= v_stable AND l.bundle_id + 0 > v_last.last_bundle_id
                                   ORDER BY l.bundle_seq LIMIT 1), v_stable);
        END IF;
    END IF;
    RETURN QUERY
    SELECT b.bundle_id, b.bundle_seq, ARRAY[v_bucket::text], coalesce(c.nth - 1, 0), s.table_schema, s.table_name, c.row_key::json,
           CASE c.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' END,
           CASE WHEN c.op <> 'D' THEN c.payload END,
           coalesce(b.source_id, 'server'), coalesce(b.source_bundle_id, b.bundle_id), b.sealed_at
      FROM (SELECT l.*, sum(l.byte_count) OVER (ORDER BY l.bundle_seq ROWS UNBOUNDED PRECEDING) - l.byte_count AS bytes_before
              FROM tide.bundle_log AS l
             WHERE l.bucket_id = v_bucket
               AND l.bundle_seq > after_bundle_seq
               AND l.bundle_seq <= v_stable
             ORDER BY l.bundle_seq
             LIMIT CASE WHEN NOT v_whole THEN max_bundles END) AS b
      -- A bundle without changes says that the user's access changed.
      LEFT JOIN LATERAL tide.bundle_changes(b.xid, b.consecutive, b.min_change_id, b.max_change_id, b.changes, b.ops) AS c ON true
      LEFT JOIN tide.synced_table AS s ON s.table_id = c.table_id
     WHERE v_whole OR b.bytes_before = 0 OR b.bytes_before + b.byte_count <= max_bytes;
END;
$$;
COMMENT ON FUNCTION tide.pull(text, bigint, integer, bigint, bigint) IS
'Whole bundles of one bucket after a position, in order, one row per change; at most max_bundles, and no more than max_bytes of payload unless the first alone is larger, or rows moved between buckets within it. A bundle without changes, one row with key NULL, says that the access of the user changed. Never writes. Raises TD014 when the log does not reach back to the position, TD018.';
