-- A page is as many whole bundles as fit, at least one. Rows come in the order of the log because nested
-- loops alone are allowed: to sort them, with their payloads, would cost more than to find them.
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
    v_end record;
BEGIN
    SELECT * INTO v_end FROM tide.pull_end(pull.bucket_id, after_bundle_seq, target_bundle_seq, max_bundles, max_bytes);
    RETURN QUERY
    SELECT b.bundle_id, b.bundle_seq, ARRAY[pull.bucket_id], coalesce(b.nth - 1, 0), b.table_schema, b.table_name, b.row_key::json, b.op, b.payload,
           b.source_id, b.source_bundle_id, b.sealed_at
      FROM tide.bucket_bundles(pull.bucket_id, after_bundle_seq, v_end.last_seq, CASE WHEN NOT v_end.whole THEN max_bundles END, max_bytes) AS b;
END;
$$;
COMMENT ON FUNCTION tide.pull(text, bigint, integer, bigint, bigint) IS
'Whole bundles of one bucket after a position, in order, one row per change; at most max_bundles, and no more than max_bytes of payload unless the first alone is larger, or rows moved between buckets within it. A bundle without changes, one row with key NULL, says that the access of the user changed. Never writes. Raises TD014 when the log does not reach back to the position, TD018.';
