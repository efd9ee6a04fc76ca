-- Where many buckets stand, in the order of the log too. Adoption gives a bucket a position without a bundle.
CREATE OR REPLACE FUNCTION tide.bucket_heads(buckets text[])
    RETURNS TABLE (bucket_id text, head_seq bigint, bundle_id bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_head bigint := tide.head();
BEGIN
    RETURN QUERY
    SELECT u.bucket_id, greatest(b.bundle_seq, f.floor_seq, 0), greatest(b.bundle_id, f.floor_bundle_id, 0)
      FROM unnest(buckets) AS u (bucket_id)
      -- + 0: the index of the bucket is the one that is meant.
      LEFT JOIN LATERAL (
               SELECT l.bundle_seq, l.bundle_id FROM tide.bundle_log AS l
                WHERE l.bucket_id = u.bucket_id COLLATE "C" AND l.bundle_id + 0 <= v_head
                ORDER BY l.bundle_seq DESC LIMIT 1) AS b ON true
      LEFT JOIN LATERAL (
               SELECT o.floor_seq, o.floor_bundle_id FROM tide.bucket_floor AS o
                WHERE o.bucket_id = u.bucket_id COLLATE "C"
                ORDER BY o.floor_seq DESC LIMIT 1) AS f ON true;
END;
$$;
COMMENT ON FUNCTION tide.bucket_heads(text[]) IS 'The newest bundle of each of these buckets: its number there, and its place in the log; 0 for none.';
