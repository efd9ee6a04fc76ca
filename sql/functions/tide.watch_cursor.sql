-- Asked twice by who watches: which buckets to listen to, and, once he does, whether there was something
-- before that.
CREATE OR REPLACE FUNCTION tide.watch_cursor(
    user_id text, source_id text, read_cursor text,
    OUT bundle_id bigint, OUT buckets text[], OUT newest_bundle_id bigint, OUT changed boolean
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_open record;
BEGIN
    SELECT * INTO v_open FROM tide.open_cursor(watch_cursor.user_id, watch_cursor.source_id, read_cursor);
    IF v_open.bundle_id IS NULL THEN
        RAISE EXCEPTION 'a watch of many buckets needs a cursor' USING ERRCODE = 'TD133', HINT = 'Connect, and send the cursor of the answer.';
    END IF;
    bundle_id := v_open.bundle_id;
    changed := v_open.add <> '{}' OR v_open.remove <> '{}' OR v_open.repair <> '{}';
    buckets := ARRAY(SELECT k FROM jsonb_object_keys(v_open.held) AS k
                     EXCEPT SELECT r FROM unnest(v_open.remove) AS r
                     UNION SELECT tide.home_bucket(watch_cursor.user_id));
    -- What a bucket brought with it when it was fetched is no news.
    SELECT coalesce(max(h.bundle_id), 0) INTO newest_bundle_id
      FROM tide.bucket_heads(buckets) AS h
     WHERE h.bundle_id > coalesce((v_open.held ->> h.bucket_id)::bigint, 0);
END;
$$;
COMMENT ON FUNCTION tide.watch_cursor(text, text, text) IS
'For a device that holds many buckets and waits for news of them: its position, the buckets that concern it, their newest bundle, and whether they are others than it holds (then connect). Raises TD032, TD126, TD131 to TD133.';
