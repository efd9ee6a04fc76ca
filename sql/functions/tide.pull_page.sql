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
        ), kept AS MATERIALIZED (
            SELECT f.bundle_id, f.bucket_id, f.byte_count FROM found AS f
             WHERE f.bundle_id <= (SELECT e.edge FROM edge AS e) AND (counted ->> f.bucket_id)::bigint < f.bundle_id
        ), fitting AS MATERIALIZED (
            SELECT s.bundle_id, max_bundles IS NULL OR s.nth <= max_bundles AND (s.bytes_before = 0 OR s.bytes_before + s.bytes <= max_bytes) AS fits
              FROM (SELECT k.bundle_id, sum(k.byte_count) AS bytes, row_number() OVER w AS nth,
                           sum(sum(k.byte_count)) OVER (w ROWS UNBOUNDED PRECEDING) - sum(k.byte_count) AS bytes_before
                      FROM kept AS k GROUP BY k.bundle_id WINDOW w AS (ORDER BY k.bundle_id)) AS s
        ), last AS MATERIALIZED (
            SELECT CASE WHEN bool_and(f.fits) THEN (SELECT e.edge FROM edge AS e) ELSE max(f.bundle_id) FILTER (WHERE f.fits) END AS last FROM fitting AS f
        )
        SELECT coalesce((SELECT l.last FROM last AS l), (SELECT e.edge FROM edge AS e)), p.bundle_ids, p.bucket_ids
          INTO last_bundle_id, bundle_ids, bucket_ids
          FROM (SELECT array_agg(k.bundle_id) AS bundle_ids, array_agg(k.bucket_id::text) AS bucket_ids
                  FROM kept AS k WHERE k.bundle_id <= (SELECT coalesce(l.last, (SELECT e.edge FROM edge AS e)) FROM last AS l)) AS p;
        -- One bundle alone is longer than what is read at once.
        EXIT WHEN last_bundle_id > after_bundle_id OR NOT v_reading;
        v_reading := false;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.pull_page(jsonb, bigint, bigint, bigint, bigint) IS
'Bundles of a page, once for each bucket of {"bucket": bundle_id} that they touch beyond its bundle_id; last_bundle_id is where the page ends; without max_bundles that is until_bundle_id. Internal.';
