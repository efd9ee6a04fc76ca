-- A row of a bundle is judged over all buckets of the device that count there: one that it fetched at a
-- later position already does not count before that. What is there is what the change says of the row's
-- buckets, so that a row which left one bucket and stayed in another is an update.
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
AS $$
#variable_conflict use_column
DECLARE
    v_open    record;
    v_counted jsonb;
    v_page    record;
    v_seal    tide.seal_log;
    v_whole   tide.seal_log;
BEGIN
    PERFORM tide.check_page(max_bundles, max_bytes);
    SELECT * INTO v_open FROM tide.open_cursor(pull_cursor.user_id, pull_cursor.source_id, read_cursor);
    IF v_open.bundle_id IS NULL THEN
        RAISE EXCEPTION 'a pull needs a cursor' USING ERRCODE = 'TD133', HINT = 'Connect, and send the cursor of the answer.';
    END IF;
    add := v_open.add;
    remove := v_open.remove;
    repair := v_open.repair;
    IF NOT v_open.ready OR v_open.bundle_id = (v_open.head).last_bundle_id THEN
        next_cursor := read_cursor;
        has_more := v_open.bundle_id < (v_open.head).last_bundle_id;
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT coalesce(jsonb_object_agg(h.key, h.value), '{}') INTO v_counted FROM jsonb_each(v_open.held) AS h WHERE h.value <> 'null';
    SELECT * INTO v_page FROM tide.pull_page(v_counted, v_open.bundle_id, (v_open.head).last_bundle_id, max_bundles, max_bytes);
    v_seal := v_open.head;
    IF v_page.last_bundle_id < v_seal.last_bundle_id THEN
        v_seal := tide.seal_of(v_page.last_bundle_id);
        -- Where rows moved because of other tables, only all bundles of the seal are what the rules say. In a
        -- long seal they are moved by its last step.
        SELECT s.* INTO v_whole FROM tide.seal_log AS s WHERE s.seal_id >= v_seal.seal_id AND s.cut_change_id IS NULL ORDER BY s.seal_id LIMIT 1;
        IF v_whole.has_derived AND v_page.last_bundle_id < v_whole.last_bundle_id THEN
            v_seal := v_whole;
            SELECT * INTO v_page FROM tide.pull_page(v_counted, v_open.bundle_id, v_seal.last_bundle_id, NULL, NULL);
        END IF;
    END IF;
    has_more := v_page.last_bundle_id < (v_open.head).last_bundle_id;
    IF v_seal.seal_id < v_open.seal_id THEN
        -- A bucket was fetched at a later one.
        v_seal.seal_id := v_open.seal_id;
        v_seal.identity := v_open.identity;
    END IF;
    next_cursor := tide.write_cursor(v_page.last_bundle_id, v_seal.seal_id, v_seal.identity, v_open.fingerprint);
    RETURN NEXT;
    RETURN QUERY
    SELECT r.*, NULL::text, NULL::boolean, NULL::text[], NULL::text[], NULL::text[]
      FROM tide.bundles_for(v_counted, v_page.bundle_ids, v_page.bucket_ids, tide.source_shape(pull_cursor.user_id, pull_cursor.source_id)) AS r;
END;
$$;
COMMENT ON FUNCTION tide.pull_cursor(text, text, text, integer, bigint) IS
'Whole bundles over all buckets that a device holds, after its cursor, in causal order. The first row has the next cursor, whether there is more, and what to fetch or drop (then connect; with something to drop or repair no bundle is sent before that). Each bundle is a row without row_ordinal, followed by its rows. Never writes. Raises TD014, TD018, TD032, TD126, TD131 to TD133.';
