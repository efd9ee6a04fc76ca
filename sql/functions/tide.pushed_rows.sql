CREATE OR REPLACE FUNCTION tide.pushed_rows(user_id text, source_id text, source_bundle_id bigint, bundle_id bigint)
    RETURNS TABLE (
        row_bundle_id bigint, row_ordinal bigint, buckets text[], table_schema text, table_name text, key json, op text, payload json
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    -- Not in the query: the planner would call it too, to estimate rows.
    v_may       text[] := tide.buckets_of(pushed_rows.user_id);
    v_counted   jsonb;
    v_buckets   text[];
    v_ids       bigint[];
    v_shape     jsonb := tide.source_shape(pushed_rows.user_id, pushed_rows.source_id);
BEGIN
    SELECT jsonb_object_agg(b, 0) INTO v_counted FROM unnest(v_may) AS b;
    SELECT array_agg(l.bucket_id::text), array_agg(l.bundle_id) INTO v_buckets, v_ids
      FROM tide.push_log AS p
      JOIN tide.bundle_log AS l ON l.bundle_id = pushed_rows.bundle_id AND l.xid = p.xid
     WHERE p.user_id = pushed_rows.user_id AND p.source_id = pushed_rows.source_id AND p.source_bundle_id = pushed_rows.source_bundle_id
       AND jsonb_exists(v_counted, l.bucket_id);
    RETURN QUERY
    SELECT b.bundle_id, b.row_ordinal, b.buckets, b.table_schema, b.table_name, b.row_key::json, b.op, b.payload
      FROM tide.bundles_for(v_counted, v_ids, v_buckets, v_shape) AS b
     WHERE b.row_ordinal IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION tide.pushed_rows(text, text, bigint, bigint) IS
'Rows of a push, sealed as this bundle, as they are in the log, over all buckets that its user may read now. Raises TD014, TD032. Internal.';
