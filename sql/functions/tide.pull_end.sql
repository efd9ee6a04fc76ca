-- Where rows moved because of other tables, only all bundles of the seal are what the rules say. In a long seal
-- they are moved by its last step.
CREATE OR REPLACE FUNCTION tide.pull_end(
    bucket text, after_seq bigint, target_seq bigint, max_bundles integer, max_bytes bigint,
    OUT floor_seq bigint, OUT head_seq bigint, OUT last_seq bigint, OUT whole boolean
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    v_last record;
BEGIN
    PERFORM tide.check_page(max_bundles, max_bytes);
    SELECT p.floor_seq, p.head_seq INTO floor_seq, head_seq FROM tide.bucket_position(bucket) AS p;
    IF after_seq IS NULL OR after_seq < floor_seq OR after_seq > head_seq THEN
        RAISE EXCEPTION 'bundles after position % of bucket % are not in the log', coalesce(after_seq::text, 'NULL'), bucket
            USING ERRCODE = 'TD014',
                  DETAIL  = format('Its log goes from %s to %s.', floor_seq, head_seq),
                  HINT    = 'Take a snapshot of the bucket, and go on from its position.';
    END IF;
    last_seq := least(coalesce(nullif(target_seq, 0), head_seq), head_seq);
    whole := false;
    IF NOT EXISTS (SELECT FROM tide.bucket_source) THEN
        RETURN;
    END IF;
    SELECT p.bundle_seq, s.last_bundle_id, s.has_derived
      INTO v_last
      FROM (SELECT b.bundle_seq, b.seal_id
              FROM (SELECT l.bundle_seq, l.seal_id, l.byte_count, sum(l.byte_count::float8) OVER (ORDER BY l.bundle_seq ROWS UNBOUNDED PRECEDING) - l.byte_count AS bytes_before
                      FROM tide.bundle_log AS l
                     WHERE l.bucket_id = bucket COLLATE "C" AND l.bundle_seq > after_seq AND l.bundle_seq <= last_seq
                     ORDER BY l.bundle_seq LIMIT max_bundles) AS b
             WHERE b.bytes_before = 0 OR b.bytes_before + b.byte_count <= max_bytes
             ORDER BY b.bundle_seq DESC LIMIT 1) AS p
     CROSS JOIN LATERAL (SELECT w.last_bundle_id, w.has_derived FROM tide.seal_log AS w WHERE w.seal_id >= p.seal_id AND w.cut_change_id IS NULL ORDER BY w.seal_id LIMIT 1) AS s;
    IF v_last.has_derived THEN
        whole := true;
        last_seq := coalesce((SELECT l.bundle_seq - 1 FROM tide.bundle_log AS l
                               WHERE l.bucket_id = bucket COLLATE "C" AND l.bundle_seq > v_last.bundle_seq AND l.bundle_seq <= last_seq AND l.bundle_id + 0 > v_last.last_bundle_id
                               ORDER BY l.bundle_seq LIMIT 1), last_seq);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.pull_end(text, bigint, bigint, integer, bigint) IS
'Where a page of a bucket may end at the latest, and whether all up to there belongs to it, whatever its size. Raises TD014, TD018. Internal.';
