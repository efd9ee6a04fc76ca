CREATE OR REPLACE FUNCTION tide.pushed_bundle(user_id text, source_id text, source_bundle_id bigint, max_rows integer)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, row_count bigint, seal text, kind text,
        row_version bigint, buckets text[], table_schema text, table_name text, key json, op text, payload json,
        sealed_at timestamptz, bundle_source_id text, bundle_source_bundle_id bigint
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_home  text COLLATE "C" := tide.home_bucket(user_id);
    v_knows boolean; -- all tables and columns that there are
    v_may   text[];
    v_push  record;
BEGIN
    SELECT o.kind, o.shape_id = t.shape_id INTO kind, v_knows
      FROM tide.source AS o CROSS JOIN tide.setting AS t WHERE o.user_id = pushed_bundle.user_id AND o.source_id = pushed_bundle.source_id;
    -- As a rule it was sealed just now, and is in one bucket: one query tells.
    IF v_knows AND kind = 'v1' THEN
        RETURN QUERY
        SELECT b.bundle_id, b.bundle_seq, n.row_count, NULL::text, 'v1',
               b.bundle_seq, NULL::text[], r.table_schema, r.table_name, r.key, r.op, r.payload, b.sealed_at, r.source_id, r.source_bundle_id
          FROM tide.push_log AS p
         CROSS JOIN LATERAL tide.newest_bundle_of(v_home, p) AS b
         CROSS JOIN LATERAL (SELECT cardinality(b.changes)::bigint AS row_count OFFSET 0) AS n -- once: a long list is stored elsewhere
         CROSS JOIN LATERAL tide.bundle_page(b, 1, least(greatest(max_rows, 1), n.row_count)) AS r
         WHERE p.user_id = pushed_bundle.user_id AND p.source_id = pushed_bundle.source_id AND p.source_bundle_id = pushed_bundle.source_bundle_id;
        IF FOUND THEN
            RETURN;
        END IF;
    ELSIF v_knows AND kind = 'cursor' AND max_rows > 0 THEN
        v_may := tide.buckets_of(user_id);
        RETURN QUERY
        SELECT b.bundle_id, CASE WHEN b.bucket_id = v_home THEN b.bundle_seq ELSE 0 END, CASE WHEN b.bucket_id = v_home THEN cardinality(b.changes)::bigint ELSE p.row_count END, s.seal_id || '-' || s.identity, 'cursor',
               b.bundle_id, CASE WHEN r.op = 'DELETE' THEN '{}' ELSE ARRAY[b.bucket_id::text] END, r.table_schema, r.table_name, r.key, r.op, r.payload, NULL::timestamptz, NULL::text, NULL::bigint
          FROM tide.push_log AS p
         CROSS JOIN LATERAL tide.newest_bundle(p) AS b
          JOIN tide.seal_log AS s ON s.seal_id = b.seal_id
         CROSS JOIN LATERAL tide.bundle_page(b, 1, cardinality(b.changes)) AS r
         WHERE p.user_id = pushed_bundle.user_id AND p.source_id = pushed_bundle.source_id AND p.source_bundle_id = pushed_bundle.source_bundle_id
           AND b.bucket_id = ANY (v_may) AND NOT EXISTS (SELECT FROM tide.bundle_log AS e WHERE e.bundle_id = b.bundle_id AND e.bucket_id <> b.bucket_id);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    SELECT r.* INTO v_push FROM tide.push_result(pushed_bundle.user_id, pushed_bundle.source_id, pushed_bundle.source_bundle_id) AS r;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    bundle_id := v_push.bundle_id;
    bundle_seq := v_push.bundle_seq;
    row_count := v_push.row_count;
    seal := v_push.seal;
    kind := coalesce(kind, 'v1');
    IF kind = 'cursor' THEN
        RETURN QUERY
        SELECT v_push.bundle_id, v_push.bundle_seq, v_push.row_count, v_push.seal, 'cursor',
               r.row_bundle_id, r.buckets, r.table_schema, r.table_name, r.key, r.op, r.payload, NULL::timestamptz, NULL::text, NULL::bigint
          FROM tide.pushed_rows(pushed_bundle.user_id, pushed_bundle.source_id, pushed_bundle.source_bundle_id, v_push.bundle_id) AS r WHERE max_rows > 0;
    ELSE
        RETURN QUERY
        SELECT v_push.bundle_id, v_push.bundle_seq, v_push.row_count, v_push.seal, 'v1',
               v_push.bundle_seq, NULL::text[], r.table_schema, r.table_name, r.key, r.op, r.payload, r.sealed_at, r.source_id, r.source_bundle_id
          FROM tide.device_bundle_rows(pushed_bundle.user_id, pushed_bundle.source_id, nullif(v_push.bundle_seq, 0), -1, greatest(max_rows, 1)) AS r;
    END IF;
    IF NOT FOUND THEN
        RETURN NEXT;
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.pushed_bundle(text, text, bigint, integer) IS
'What tide.push_result says of a push, with its rows as the device gets them, once they are sealed: for one that reads its home bucket so many of them, and one at least, with the name of their bundle; for one that reads many buckets all, or none with max_rows 0. One row without op where there are none. The seal is for devices that read many buckets; others may get NULL. Raises TD014, TD032.';
