-- Which bundles are the next page, from bundle_log alone. Two ways to find them: read on in the log and
-- leave out what is not for the device, or look into each of its buckets, some bundles ahead. Either may
-- stop early; what it found up to the edge is complete.
CREATE OR REPLACE FUNCTION tide.pull_page(
    counted jsonb, after_bundle_id bigint, until_bundle_id bigint, max_bundles bigint, max_bytes bigint,
    OUT last_bundle_id bigint, OUT bundle_ids bigint[], OUT bucket_ids text[]
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_longest bigint := CASE WHEN max_bundles IS NOT NULL THEN 50000 END;
    v_buckets bigint := (SELECT count(*) FROM jsonb_object_keys(counted));
    v_ahead   bigint := CASE WHEN max_bundles IS NOT NULL THEN least(max_bundles, greatest(10, 4 * max_bundles / greatest(v_buckets, 1))) END;
    -- A row of the log that is read and left out costs an eighth of looking into a bucket, which has several partitions.
    v_reading boolean := until_bundle_id - after_bundle_id <= 8 * v_buckets;
BEGIN
    LOOP
        WITH found AS MATERIALIZED (
            SELECT r.bundle_id, r.bucket_id, r.byte_count
              FROM (SELECT l.bundle_id, l.bucket_id, l.byte_count FROM tide.bundle_log AS l
                     WHERE v_reading AND l.bundle_id > after_bundle_id AND l.bundle_id <= until_bundle_id
                     ORDER BY l.bundle_id LIMIT v_longest) AS r
             UNION ALL
            SELECT k.bundle_id, k.bucket_id, k.byte_count
              FROM jsonb_each_text(counted) AS u (bucket_id, held_until)
             CROSS JOIN LATERAL (
                       SELECT l.bundle_id, l.bucket_id, l.byte_count FROM tide.bundle_log AS l
                        WHERE l.bucket_id = u.bucket_id COLLATE "C"
                          AND l.bundle_id > greatest(after_bundle_id, u.held_until::bigint) AND l.bundle_id <= until_bundle_id
                        ORDER BY l.bundle_id LIMIT v_ahead) AS k
             WHERE NOT v_reading
        ), edge AS MATERIALIZED (
            SELECT coalesce(CASE WHEN v_reading THEN (SELECT max(f.bundle_id) - 1 FROM found AS f HAVING count(*) = v_longest)
                                 ELSE (SELECT min(b.last) FROM (SELECT max(f.bundle_id) AS last FROM found AS f GROUP BY f.bucket_id HAVING count(*) = v_ahead) AS b) END,
                            until_bundle_id) AS edge
        )
        SELECT CASE WHEN bool_and(p.fits) IS FALSE THEN max(p.bundle_id) FILTER (WHERE p.fits) ELSE max(e.edge) END,
               array_agg(p.bundle_id) FILTER (WHERE p.fits), array_agg(p.bucket_id::text) FILTER (WHERE p.fits)
          INTO last_bundle_id, bundle_ids, bucket_ids
          FROM edge AS e
          LEFT JOIN LATERAL (
               -- What is of one bundle fits or does not as a whole: it is one step of the window.
               SELECT f.bundle_id, f.bucket_id,
                      max_bundles IS NULL OR dense_rank() OVER w <= max_bundles AND (dense_rank() OVER w = 1 OR sum(f.byte_count::float8) OVER w <= max_bytes) AS fits
                 FROM found AS f
                WHERE f.bundle_id <= e.edge AND (counted ->> f.bucket_id)::bigint < f.bundle_id
               WINDOW w AS (ORDER BY f.bundle_id)) AS p ON true;
        -- One bundle alone is longer than what is read at once.
        EXIT WHEN last_bundle_id > after_bundle_id OR NOT v_reading;
        v_reading := false;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.pull_page(jsonb, bigint, bigint, bigint, bigint) IS
'Bundles of a page, once for each bucket of {"bucket": bundle_id} that they touch beyond its bundle_id; last_bundle_id is where the page ends; without max_bundles that is until_bundle_id. Internal.';
