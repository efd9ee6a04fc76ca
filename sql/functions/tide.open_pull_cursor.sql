-- A cursor, like that of tide.open_pull.
CREATE OR REPLACE FUNCTION tide.open_pull_cursor(
    user_id text, source_id text, read_cursor text, max_bundles integer, max_bytes bigint, cursor_name text DEFAULT 'tide_pull',
    OUT next_cursor text, OUT has_more boolean, OUT add text[], OUT remove text[], OUT repair text[]
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_page   record;
    v_cursor refcursor := cursor_name;
BEGIN
    PERFORM tide.assert_scope(user_id);
    SELECT * INTO v_page FROM tide.next_page(user_id, open_pull_cursor.source_id, read_cursor, max_bundles, max_bytes);
    next_cursor := v_page.next_cursor;
    has_more := v_page.has_more;
    add := v_page.add;
    remove := v_page.remove;
    repair := v_page.repair;
    OPEN v_cursor NO SCROLL FOR
    SELECT r.bundle_id, r.source, r.source_bundle_id, CASE WHEN r.op IS NULL OR NOT r.as_bundle THEN to_json(r.buckets) END AS buckets, r.table_schema, r.table_name, r.row_key, r.op, r.payload, r.seal
      FROM tide.bundles_for(v_page.counted, v_page.bundle_ids, v_page.bucket_ids, v_page.shape) AS r;
END;
$$;
COMMENT ON FUNCTION tide.open_pull_cursor(text, text, text, integer, bigint, text) IS
'What tide.pull_cursor returns, the bundles and rows through a cursor: bundle_id, source, source_bundle_id, buckets as JSON, table_schema, table_name, row_key, op, payload, seal; op NULL where a bundle begins, buckets NULL in a row where they are those of the bundle. Never writes. Raises TD014, TD018, TD032, TD108, TD126, TD131 to TD133.';
