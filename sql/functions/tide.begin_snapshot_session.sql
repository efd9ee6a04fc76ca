-- A device has one snapshot at a time: the answer to an earlier one was lost, perhaps.
CREATE OR REPLACE FUNCTION tide.begin_snapshot_session(user_id text, source_id text, "position" bigint, buckets text[], OUT snapshot_id uuid, OUT expires_at timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user    text COLLATE "C" := user_id;
    v_source  text COLLATE "C" := source_id;
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
    v_access  bytea := CASE WHEN buckets IS NOT NULL THEN sha256(convert_to(tide.buckets_of(user_id)::text, 'UTF8')) END;
    v_slot    integer;
BEGIN
    WITH ended AS (
        DELETE FROM tide.snapshot_session AS s WHERE s.user_id = v_user AND (s.source_id = v_source OR s.expires_at <= clock_timestamp()) RETURNING s.snapshot_id
    )
    DELETE FROM tide.snapshot_page AS p USING ended AS e WHERE p.snapshot_id = e.snapshot_id;
    expires_at := clock_timestamp() + v_setting.snapshot_session_ttl;
    -- In any order: a slot that another device of the user takes at the same time is a serialization failure.
    FOR v_slot IN SELECT g FROM generate_series(1, v_setting.max_snapshot_sessions) AS g ORDER BY random() LOOP
        INSERT INTO tide.snapshot_session AS s (user_id, source_id, slot, snapshot_bundle_seq, row_count, byte_count, expires_at, buckets, access_hash)
        VALUES (v_user, v_source, v_slot, "position", 0, 0, expires_at, begin_snapshot_session.buckets, v_access)
            ON CONFLICT (user_id, slot) DO NOTHING
        RETURNING s.snapshot_id INTO snapshot_id;
        EXIT WHEN snapshot_id IS NOT NULL;
    END LOOP;
    IF snapshot_id IS NULL THEN
        RAISE EXCEPTION 'this user has too many open snapshots'
            USING ERRCODE = 'TD125', DETAIL = format('At most %s are allowed.', v_setting.max_snapshot_sessions), HINT = 'Delete one, or wait.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.begin_snapshot_session(text, text, bigint, text[]) IS 'An empty snapshot session; an earlier one of the same source ends. Raises TD125. Internal.';
