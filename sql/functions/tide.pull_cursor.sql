CREATE OR REPLACE FUNCTION tide.pull_cursor(
    user_id text, source_id text, read_cursor text, max_bundles integer DEFAULT 1000, max_bytes bigint DEFAULT 8388608
)
    RETURNS TABLE (
        bundle_id bigint, row_ordinal bigint, buckets text[], table_schema text, table_name text, key json, op text, payload json,
        source text, source_bundle_id bigint, sealed_at timestamptz, seal text,
        next_cursor text, has_more boolean, add text[], remove text[], repair text[]
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_page record;
BEGIN
    SELECT * INTO v_page FROM tide.next_page(pull_cursor.user_id, pull_cursor.source_id, read_cursor, max_bundles, max_bytes);
    next_cursor := v_page.next_cursor;
    has_more := v_page.has_more;
    add := v_page.add;
    remove := v_page.remove;
    repair := v_page.repair;
    RETURN NEXT;
    RETURN QUERY
    SELECT r.bundle_id, r.row_ordinal, r.buckets, r.table_schema, r.table_name, r.row_key::json, r.op, r.payload, r.source, r.source_bundle_id, r.sealed_at, r.seal,
           NULL::text, NULL::boolean, NULL::text[], NULL::text[], NULL::text[]
      FROM tide.bundles_for(v_page.counted, v_page.bundle_ids, v_page.bucket_ids, v_page.shape) AS r;
END;
$$;
COMMENT ON FUNCTION tide.pull_cursor(text, text, text, integer, bigint) IS
'Whole bundles over all buckets that a device holds, after its cursor, in causal order. The first row has the next cursor, whether there is more, and what to fetch or drop (then connect; with something to drop or repair no bundle is sent before that). Each bundle is a row without row_ordinal, followed by its rows. Never writes. Raises TD014, TD018, TD032, TD126, TD131 to TD133.';
