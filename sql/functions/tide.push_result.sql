CREATE OR REPLACE FUNCTION tide.push_result(user_id text, source_id text, source_bundle_id bigint)
    RETURNS TABLE (bundle_id bigint, bundle_seq bigint, row_count bigint, seal text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    -- In the order of the index, however few bundles a bucket is thought to have.
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_home text COLLATE "C" := tide.home_bucket(user_id);
    v_push tide.push_log;
BEGIN
    SELECT p.* INTO v_push FROM tide.push_log AS p
     WHERE p.user_id = push_result.user_id AND p.source_id = push_result.source_id AND p.source_bundle_id = push_result.source_bundle_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Just sealed, it is among the newest of its bucket; a late retry looks for it by its transaction.
    RETURN QUERY
    SELECT l.bundle_id, l.bundle_seq, cardinality(l.changes)::bigint, (SELECT s.seal_id || '-' || s.identity FROM tide.seal_log AS s WHERE s.seal_id = l.seal_id)
      FROM tide.newest_bundle_of(v_home, v_push) AS l;
    IF FOUND THEN
        RETURN;
    END IF;
    bundle_id := tide.position_of(v_push.xid);
    SELECT b.bundle_seq, cardinality(b.changes) INTO bundle_seq, row_count
      FROM tide.bundle_log AS b WHERE b.bucket_id = v_home AND b.bundle_id = push_result.bundle_id AND b.xid = v_push.xid AND b.source_id = push_result.source_id;
    bundle_seq := coalesce(bundle_seq, 0);
    row_count := coalesce(row_count, v_push.row_count);
    SELECT s.seal_id || '-' || s.identity INTO seal FROM tide.seal_of(push_result.bundle_id) AS s;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION tide.push_result(text, text, bigint) IS
'Where a push stands in the log: no row when there was no such push, bundle_id NULL while it is not sealed, bundle_seq 0 when none of its rows is in the home bucket of its user. seal is the one it was sealed by: a history that has it has the push.';
