CREATE OR REPLACE FUNCTION tide.bucket_position(bucket_id text, OUT floor_seq bigint, OUT head_seq bigint)
    RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET max_parallel_workers_per_gather = 0
AS $$
#variable_conflict use_column
DECLARE
    v_bucket text COLLATE "C" := bucket_id;
    v_head bigint := tide.head();
BEGIN
    floor_seq := coalesce((SELECT f.floor_seq FROM tide.bucket_floor AS f WHERE f.bucket_id = v_bucket ORDER BY f.floor_seq DESC LIMIT 1), 0);
    -- + 0: the index of the bucket is the one that is meant.
    head_seq := greatest((SELECT b.bundle_seq FROM tide.bundle_log AS b WHERE b.bucket_id = v_bucket AND b.bundle_id + 0 <= v_head ORDER BY b.bundle_seq DESC LIMIT 1), floor_seq);
END;
$$;
COMMENT ON FUNCTION tide.bucket_position(text) IS 'Floor and head of a bucket: a reader at any position between them misses nothing by reading on.';
