CREATE OR REPLACE FUNCTION tide.snapshot_session(user_id text, snapshot_id uuid, OUT snapshot_bundle_seq bigint, OUT row_count bigint, OUT byte_count bigint, OUT expires_at timestamptz, OUT buckets text[], OUT may text[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_session tide.snapshot_session := (SELECT s FROM tide.snapshot_session AS s WHERE s.snapshot_id = snapshot_session.snapshot_id);
BEGIN
    IF v_session.snapshot_id IS NULL THEN
        RAISE EXCEPTION 'there is no such snapshot' USING ERRCODE = 'TD119', HINT = 'Create another one.';
    END IF;
    IF v_session.user_id <> user_id THEN
        RAISE EXCEPTION 'this snapshot belongs to another user' USING ERRCODE = 'TD120', HINT = 'Create one of your own.';
    END IF;
    IF v_session.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'this snapshot has expired' USING ERRCODE = 'TD121', DETAIL = format('It ended at %s.', v_session.expires_at), HINT = 'Create another one.';
    END IF;
    IF v_session.buckets IS NOT NULL THEN
        -- Asked anew each time; to go through thousands of names would cost more than the rows.
        may := tide.buckets_of(user_id);
        IF sha256(convert_to(may::text, 'UTF8')) = v_session.access_hash THEN
            may := NULL;
        ELSE
            PERFORM tide.assert_buckets(user_id, v_session.buckets);
        END IF;
    END IF;
    snapshot_bundle_seq := v_session.snapshot_bundle_seq;
    row_count := v_session.row_count;
    byte_count := v_session.byte_count;
    expires_at := v_session.expires_at;
    buckets := v_session.buckets;
END;
$$;
COMMENT ON FUNCTION tide.snapshot_session(text, uuid) IS 'Position and size of a user''s snapshot, and the buckets it is of; NULL is the home bucket of a v1 client; may is what the user may read now, NULL while that is what it was when the session began. Raises TD032, TD119 to TD121, TD134.';
