-- First which bundles: from bundle_log alone, at most a page of each bucket. Then what they hold for
-- all the buckets together: a row that leaves one of them and stays in another is an update.
CREATE OR REPLACE FUNCTION tide.pull(
    buckets          text[],
    after_bundle_id  bigint  DEFAULT 0,
    max_bundles      integer DEFAULT 1000,
    max_bytes        bigint  DEFAULT 8388608,
    target_bundle_id bigint  DEFAULT NULL
)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, bucket_ids text[], row_ordinal bigint, table_schema text, table_name text,
        key json, op text, payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_buckets text[] COLLATE "C" := ARRAY(SELECT DISTINCT b FROM unnest(buckets) AS b);
    v_head    bigint := tide.head();
    v_target  bigint := least(coalesce(nullif(target_bundle_id, 0), v_head), v_head);
    v_lost    text;
BEGIN
    PERFORM tide.check_page(max_bundles, max_bytes);
    SELECT string_agg(format('%s (from %s)', f.bucket_id, f.floor_bundle_id), ', ')
      INTO v_lost
      FROM (SELECT u.bucket_id, n.floor_bundle_id
              FROM unnest(v_buckets) AS u (bucket_id)
             CROSS JOIN LATERAL (
                       SELECT b.floor_bundle_id, b.reason FROM tide.bucket_floor AS b
                        WHERE b.bucket_id = u.bucket_id ORDER BY b.floor_seq DESC LIMIT 1) AS n
             WHERE n.reason <> 'born' AND n.floor_bundle_id > after_bundle_id
             ORDER BY u.bucket_id LIMIT 10) AS f;
    IF v_lost IS NOT NULL OR after_bundle_id IS NULL OR after_bundle_id > v_head THEN
        RAISE EXCEPTION 'bundles after position % are not in the log for every bucket', coalesce(after_bundle_id::text, 'NULL')
            USING ERRCODE = 'TD014',
                  DETAIL  = coalesce('Missing: ' || v_lost || '.', format('The log ends at %s.', v_head)),
                  HINT    = 'Take a snapshot of these buckets, and go on from its position.';
    END IF;
    RETURN QUERY
    WITH candidate AS MATERIALIZED (
        SELECT k.bundle_id, sum(k.byte_count)::bigint AS byte_count
          FROM unnest(v_buckets) AS u (bucket_id)
         CROSS JOIN LATERAL (
                   SELECT l.bundle_id, l.byte_count
                     FROM tide.bundle_log AS l
                    WHERE l.bucket_id = u.bucket_id AND l.bundle_id > after_bundle_id AND l.bundle_id <= v_target
                    ORDER BY l.bundle_id LIMIT max_bundles) AS k
         GROUP BY k.bundle_id
         ORDER BY k.bundle_id LIMIT max_bundles
    ), page AS MATERIALIZED (
        SELECT p.bundle_id
          FROM (SELECT c.bundle_id, c.byte_count, sum(c.byte_count) OVER (ORDER BY c.bundle_id) - c.byte_count AS bytes_before FROM candidate AS c) AS p
         WHERE p.bytes_before = 0 OR p.bytes_before + p.byte_count <= max_bytes
    ), part AS MATERIALIZED (
        SELECT l.*
          FROM page AS p
          JOIN tide.bundle_log AS l ON l.bundle_id = p.bundle_id AND l.bucket_id = ANY (v_buckets)
    ), entry AS (
        SELECT p.bundle_id, p.xid, e.change_id, bool_or(e.op <> 'I') AS before, bool_or(e.op <> 'D') AS after,
               array_agg(p.bucket_id::text ORDER BY p.bucket_id) FILTER (WHERE e.op <> 'D') AS holding,
               array_agg(p.bucket_id::text ORDER BY p.bucket_id) AS touched,
               min(p.source_id) AS source_id, min(p.source_bundle_id) AS source_bundle_id, min(p.sealed_at) AS sealed_at
          FROM part AS p
         CROSS JOIN LATERAL unnest(p.changes, p.ops) AS e (change_id, op)
         GROUP BY p.bundle_id, p.xid, e.change_id
    )
    SELECT e.bundle_id, NULL::bigint, coalesce(e.holding, o.others, e.touched),
           row_number() OVER (PARTITION BY e.bundle_id ORDER BY e.change_id) - 1,
           s.table_schema, s.table_name, c.row_key::json,
           CASE WHEN (e.after OR o.others <> '{}') AND (e.before OR c.old_buckets && v_buckets) THEN 'UPDATE' WHEN e.after THEN 'INSERT' ELSE 'DELETE' END,
           CASE WHEN e.after OR o.others <> '{}' THEN c.payload END,
           coalesce(e.source_id, 'server'), coalesce(e.source_bundle_id, e.bundle_id), e.sealed_at
      FROM entry AS e
     -- One by one, by the key: statistics of many small transactions suggest worse.
     CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = e.xid AND l.change_id = e.change_id OFFSET 0) AS c
     -- Buckets it stays in are not told again.
     CROSS JOIN LATERAL (SELECT nullif(ARRAY(SELECT b FROM unnest(c.buckets) AS b WHERE b = ANY (v_buckets) ORDER BY b COLLATE "C"), '{}') AS others) AS o
      JOIN tide.synced_table AS s ON s.table_id = c.table_id
     ORDER BY e.bundle_id, e.change_id;
END;
$$;
COMMENT ON FUNCTION tide.pull(text[], bigint, integer, bigint, bigint) IS
'Whole bundles over a set of buckets after a bundle_id, each once, in causal order, one row per change; bounded like the other form. Never writes. Raises TD014 when the log does not reach back to the position for every bucket, TD018.';
