CREATE OR REPLACE FUNCTION tide.assert_push_session(user_id text, source_id text, push_id uuid)
    RETURNS tide.push_session
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_session tide.push_session;
BEGIN
    SELECT s.* INTO v_session FROM tide.push_session AS s WHERE s.push_id = assert_push_session.push_id FOR UPDATE;
    IF v_session.push_id IS NULL THEN
        RAISE EXCEPTION 'there is no such push session' USING ERRCODE = 'TD105', HINT = 'Create another one.';
    END IF;
    IF v_session.user_id <> user_id OR v_session.source_id <> source_id THEN
        RAISE EXCEPTION 'this push session belongs to another device' USING ERRCODE = 'TD106', HINT = 'Create one of your own.';
    END IF;
    IF v_session.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'this push session has expired' USING ERRCODE = 'TD107', DETAIL = format('It ended at %s.', v_session.expires_at), HINT = 'Create another one.';
    END IF;
    RETURN v_session;
END;
$$;
COMMENT ON FUNCTION tide.assert_push_session(text, text, uuid) IS 'The push session of a device, locked. Raises TD105 to TD107. Internal.';
