CREATE OR REPLACE FUNCTION tide.next_page(
    user_id text, source_id text, read_cursor text, max_bundles integer, max_bytes bigint,
    OUT next_cursor text, OUT has_more boolean, OUT add text[], OUT remove text[], OUT repair text[],
    OUT counted jsonb, OUT bundle_ids bigint[], OUT bucket_ids text[], OUT shape jsonb
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_open  record;
    v_page  record;
    v_seal  tide.seal_log;
    v_whole tide.seal_log;
BEGIN
    PERFORM tide.check_page(max_bundles, max_bytes);
    SELECT * INTO v_open FROM tide.open_cursor(next_page.user_id, next_page.source_id, read_cursor);
    IF v_open.bundle_id IS NULL THEN
        RAISE EXCEPTION 'a pull needs a cursor' USING ERRCODE = 'TD133', HINT = 'Connect, and send the cursor of the answer.';
    END IF;
    add := v_open.add;
    remove := v_open.remove;
    repair := v_open.repair;
    IF NOT v_open.ready OR v_open.bundle_id = (v_open.head).last_bundle_id THEN
        next_cursor := read_cursor;
        has_more := v_open.bundle_id < (v_open.head).last_bundle_id;
        RETURN;
    END IF;
    SELECT coalesce(jsonb_object_agg(h.key, h.value), '{}') INTO counted FROM jsonb_each(v_open.held) AS h WHERE h.value <> 'null';
    SELECT * INTO v_page FROM tide.pull_page(counted, v_open.bundle_id, (v_open.head).last_bundle_id, max_bundles, max_bytes);
    v_seal := v_open.head;
    IF v_page.last_bundle_id < v_seal.last_bundle_id THEN
        v_seal := tide.seal_of(v_page.last_bundle_id);
        -- Where rows moved because of other tables, only all bundles of the seal are what the rules say. In a
        -- long seal they are moved by its last step.
        SELECT s.* INTO v_whole FROM tide.seal_log AS s WHERE s.seal_id >= v_seal.seal_id AND s.cut_change_id IS NULL ORDER BY s.seal_id LIMIT 1;
        IF v_whole.has_derived AND v_page.last_bundle_id < v_whole.last_bundle_id THEN
            v_seal := v_whole;
            SELECT * INTO v_page FROM tide.pull_page(counted, v_open.bundle_id, v_seal.last_bundle_id, NULL, NULL);
        END IF;
    END IF;
    has_more := v_page.last_bundle_id < (v_open.head).last_bundle_id;
    IF v_seal.seal_id < v_open.seal_id THEN
        -- A bucket was fetched at a later one.
        v_seal.seal_id := v_open.seal_id;
        v_seal.identity := v_open.identity;
    END IF;
    next_cursor := tide.write_cursor(v_page.last_bundle_id, v_seal.seal_id, v_seal.identity, v_open.fingerprint);
    bundle_ids := v_page.bundle_ids;
    bucket_ids := v_page.bucket_ids;
    shape := tide.source_shape(next_page.user_id, next_page.source_id);
END;
$$;
COMMENT ON FUNCTION tide.next_page(text, text, text, integer, bigint) IS
'The page after a cursor: where it ends, what to fetch or drop, and its bundles as tide.bundles_for takes them; NULL for none. Raises TD014, TD018, TD032, TD126, TD131 to TD133. Internal.';
