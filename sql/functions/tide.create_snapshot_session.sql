CREATE OR REPLACE FUNCTION tide.create_snapshot_session(
    user_id text, source_id text, snapshot_bundle_seq bigint,
    OUT snapshot_id uuid, OUT row_count bigint, OUT byte_count bigint, OUT expires_at timestamptz
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'a snapshot must be taken under REPEATABLE READ'
            USING ERRCODE = 'TD128',
                  DETAIL  = 'All tables must be read as they were when the position was sealed.',
                  HINT    = 'BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE; SELECT tide.seal(); and this, in one transaction.';
    END IF;
    PERFORM tide.assert_scope(user_id);
    SELECT b.snapshot_id, b.expires_at INTO snapshot_id, expires_at FROM tide.begin_snapshot_session(user_id, source_id, snapshot_bundle_seq, NULL) AS b;
    SELECT f.row_count, f.byte_count INTO row_count, byte_count FROM tide.fill_snapshot_session(snapshot_id, user_id, source_id, NULL, NULL) AS f;
    IF row_count > 0 AND coalesce(snapshot_bundle_seq, 0) = 0 THEN
        RAISE EXCEPTION 'a table waits to be read, and the home bucket has no position yet'
            USING ERRCODE = 'TD126', HINT = 'Try again after the next seal; SELECT * FROM tide.check() says more.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.create_snapshot_session(text, text, bigint) IS
'Copies the rows of a user''s home bucket, to be fetched in chunks, and ends earlier copies of the same source but the last: all tables as this REPEATABLE READ transaction sees them, at the position that a seal on the very same snapshot gave. Raises TD108, TD109, TD124 to TD126, TD128.';
