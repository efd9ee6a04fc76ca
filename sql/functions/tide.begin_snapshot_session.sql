-- A device needs one snapshot. Its last one is kept all the same while there is room: of a request that arrives
-- twice, either answer may be the one that the device goes on with.
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
    v_full    boolean;
    v_slot    integer;
BEGIN
    expires_at := clock_timestamp() + v_setting.snapshot_session_ttl;
    FOREACH v_full IN ARRAY ARRAY[false, true] LOOP
        WITH ended AS (
            DELETE FROM tide.snapshot_session AS s
             USING (SELECT o.snapshot_id, o.source_id = v_source AS own, row_number() OVER (PARTITION BY o.source_id ORDER BY o.expires_at DESC) > 1 AS superseded
                      FROM tide.snapshot_session AS o WHERE o.user_id = v_user) AS o
             WHERE s.snapshot_id = o.snapshot_id
               AND (s.expires_at <= clock_timestamp() OR o.own AND o.superseded OR v_full AND (o.own OR o.superseded))
            RETURNING s.snapshot_id
        )
        DELETE FROM tide.snapshot_page AS p USING ended AS e WHERE p.snapshot_id = e.snapshot_id;
        -- In any order, as one waits for who is about to take the same. It may have been taken since this transaction
        -- began: ON CONFLICT would make a serialization failure of that.
        FOR v_slot IN SELECT g FROM generate_series(1, v_setting.max_snapshot_sessions) AS g ORDER BY random() LOOP
            BEGIN
                INSERT INTO tide.snapshot_session AS s (user_id, source_id, slot, snapshot_bundle_seq, row_count, byte_count, expires_at, buckets, access_hash)
                VALUES (v_user, v_source, v_slot, "position", 0, 0, expires_at, begin_snapshot_session.buckets, v_access)
                RETURNING s.snapshot_id INTO snapshot_id;
                RETURN;
            EXCEPTION
                WHEN unique_violation THEN
                    NULL;
            END;
        END LOOP;
    END LOOP;
    RAISE EXCEPTION 'this user has too many open snapshots'
        USING ERRCODE = 'TD125', DETAIL = format('At most %s are allowed.', v_setting.max_snapshot_sessions), HINT = 'Delete one, or wait.';
END;
$$;
COMMENT ON FUNCTION tide.begin_snapshot_session(text, text, bigint, text[]) IS 'An empty snapshot session; of earlier ones of the source all but the last end, and that one too where there is no room. Raises TD125. Internal.';
