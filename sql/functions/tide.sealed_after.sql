-- What a runtime tells those who wait for news. A bundle's rows are read all or not at all (WITH TIES), so
-- that the next page can go on after a bundle_id. Adoption gives a bucket that was never sealed a
-- position without a bundle: the floor stands for it.
CREATE OR REPLACE FUNCTION tide.sealed_after(after_bundle_id bigint, max_rows integer DEFAULT 1000)
    RETURNS TABLE (bundle_id bigint, bucket_id text, bundle_seq bigint, source_id text, source_bundle_id bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_head bigint := tide.head();
BEGIN
    PERFORM tide.check_page(max_rows, 1);
    IF after_bundle_id IS NULL OR after_bundle_id > v_head THEN
        RAISE EXCEPTION 'the log does not go up to bundle %', coalesce(after_bundle_id::text, 'NULL')
            USING ERRCODE = 'TD014',
                  DETAIL  = format('Its last bundle is %s.', v_head),
                  HINT    = 'An earlier state was restored. Begin anew at tide.head().';
    END IF;
    RETURN QUERY
    SELECT n.bundle_id, n.bucket_id::text, n.bundle_seq, coalesce(n.source_id, 'server'), coalesce(n.source_bundle_id, n.bundle_id)
      FROM ((SELECT b.bundle_id, b.bucket_id, b.bundle_seq, b.source_id, b.source_bundle_id
               FROM tide.bundle_log AS b
              WHERE b.bundle_id > after_bundle_id AND b.bundle_id <= v_head
              ORDER BY b.bundle_id
              FETCH FIRST max_rows ROWS WITH TIES)
              UNION ALL
            (SELECT f.floor_bundle_id, f.bucket_id, f.floor_seq, NULL, NULL
               FROM tide.bucket_floor AS f
              WHERE f.reason = 'adopted' AND f.floor_bundle_id > after_bundle_id AND f.floor_bundle_id <= v_head
              ORDER BY f.floor_bundle_id
              FETCH FIRST max_rows ROWS WITH TIES)) AS n
     ORDER BY n.bundle_id
     FETCH FIRST max_rows ROWS WITH TIES;
END;
$$;
COMMENT ON FUNCTION tide.sealed_after(bigint, integer) IS
'Where each bucket got to by the bundles after a bundle_id, in their order; about max_rows rows, the last bundle whole. Raises TD014 when the log does not go up to that bundle, TD018.';
