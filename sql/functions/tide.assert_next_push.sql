CREATE OR REPLACE FUNCTION tide.assert_next_push(user_id text, source_id text, source_bundle_id bigint)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_expected bigint := 1 + coalesce((SELECT p.source_bundle_id FROM tide.push_log AS p
                                        WHERE p.user_id = assert_next_push.user_id AND p.source_id = assert_next_push.source_id
                                          -- Its own claim does not count.
                                          AND (p.source_bundle_id <> assert_next_push.source_bundle_id OR p.xid <> pg_current_xact_id())
                                        ORDER BY p.source_bundle_id DESC LIMIT 1), 0);
BEGIN
    IF source_bundle_id < v_expected THEN
        RAISE EXCEPTION 'push % of this source is no longer known', source_bundle_id
            USING ERRCODE = 'TD014', DETAIL = format('The next one is %s.', v_expected), HINT = 'Rebuild from a snapshot, as a new source.';
    ELSIF source_bundle_id > v_expected THEN
        RAISE EXCEPTION 'push % of this source is out of order', source_bundle_id
            USING ERRCODE = 'TD112', DETAIL = format('The next one is %s.', v_expected), HINT = 'Number the pushes of a source 1, 2, 3 ..., without gaps.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_next_push(text, text, bigint) IS 'Raises TD014 or TD112 unless this is the next number of the source. Internal.';
