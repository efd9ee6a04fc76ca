-- A cursor, so that rows leave while others are still read: what a function returns, it first returns whole. Its plan
-- is made here, under these settings.
CREATE OR REPLACE FUNCTION tide.open_pull(
    user_id text, source_id text, after_bundle_seq bigint, max_bundles integer, max_bytes bigint, target_bundle_seq bigint, cursor_name text DEFAULT 'tide_pull',
    OUT floor_seq bigint, OUT head_seq bigint
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_home   text := tide.home_bucket(user_id);
    v_shape  jsonb;
    v_end    record;
    v_cursor refcursor := cursor_name;
BEGIN
    PERFORM tide.assert_scope(user_id);
    v_shape := tide.source_shape(user_id, open_pull.source_id);
    SELECT * INTO v_end FROM tide.pull_end(v_home, after_bundle_seq, target_bundle_seq, max_bundles, max_bytes);
    floor_seq := v_end.floor_seq;
    head_seq := v_end.head_seq;
    OPEN v_cursor NO SCROLL FOR
    SELECT CASE WHEN b.nth = 1 OR b.nth IS NULL THEN b.bundle_seq END, CASE WHEN b.nth = 1 OR b.nth IS NULL THEN b.source_id END,
           CASE WHEN b.nth = 1 OR b.nth IS NULL THEN b.source_bundle_id END, b.table_schema, b.table_name, b.row_key,
           CASE WHEN v_shape IS NULL OR jsonb_exists(v_shape, b.table_schema || '.' || b.table_name) THEN b.op END AS op,
           CASE WHEN v_shape IS NULL THEN b.payload ELSE tide.project_payload(b.payload, v_shape -> (b.table_schema || '.' || b.table_name)) END AS payload
      FROM tide.bucket_bundles(v_home, after_bundle_seq, v_end.last_seq, CASE WHEN NOT v_end.whole THEN max_bundles END, max_bytes) AS b;
END;
$$;
COMMENT ON FUNCTION tide.open_pull(text, text, bigint, integer, bigint, bigint, text) IS
'Opens a cursor over the next page of a user''s home bucket, as this device gets it: bundle_seq, source_id and source_bundle_id in the first row of each bundle alone; then table_schema, table_name, row_key, op, payload; op NULL where the device does not know the table, or access changed. Never writes. Raises TD014, TD018, TD108.';
