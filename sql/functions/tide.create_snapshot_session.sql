CREATE OR REPLACE FUNCTION tide.create_snapshot_session(
    user_id text, source_id text, snapshot_bundle_seq bigint,
    OUT snapshot_id uuid, OUT row_count bigint, OUT byte_count bigint, OUT expires_at timestamptz
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_user    text COLLATE "C" := user_id;
    v_source  text COLLATE "C" := source_id;
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
    v_table   record;
    v_query   text;
    v_rows    bigint;
    v_bytes   bigint;
    v_shape   jsonb;
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'a snapshot must be taken under REPEATABLE READ'
            USING ERRCODE = 'TD128',
                  DETAIL  = 'All tables must be read as they were when the position was sealed.',
                  HINT    = 'BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE; SELECT tide.seal(); and this, in one transaction.';
    END IF;
    PERFORM tide.assert_scope(v_user);
    -- A device has one snapshot at a time: the answer to an earlier one was lost, perhaps.
    WITH ended AS (
        DELETE FROM tide.snapshot_session AS s WHERE s.user_id = v_user AND (s.source_id = v_source OR s.expires_at <= clock_timestamp()) RETURNING s.snapshot_id
    )
    DELETE FROM tide.snapshot_row AS r USING ended AS e WHERE r.snapshot_id = e.snapshot_id;
    expires_at := clock_timestamp() + v_setting.snapshot_session_ttl;
    FOR v_slot IN 1 .. v_setting.max_snapshot_sessions LOOP
        -- A slot that somebody took since this transaction began is a serialization failure: try again.
        INSERT INTO tide.snapshot_session AS s (user_id, source_id, slot, snapshot_bundle_seq, row_count, byte_count, expires_at)
        VALUES (v_user, v_source, v_slot, snapshot_bundle_seq, 0, 0, expires_at)
            ON CONFLICT (user_id, slot) DO NOTHING
        RETURNING s.snapshot_id INTO snapshot_id;
        EXIT WHEN snapshot_id IS NOT NULL;
    END LOOP;
    IF snapshot_id IS NULL THEN
        RAISE EXCEPTION 'this user has too many open snapshots'
            USING ERRCODE = 'TD125', DETAIL = format('At most %s are allowed.', v_setting.max_snapshot_sessions), HINT = 'Delete one, or wait.';
    END IF;
    row_count := 0;
    byte_count := 0;
    v_shape := tide.renew_shape(v_user, v_source);
    FOR v_table IN SELECT s.table_id, v_shape -> (s.table_schema || '.' || s.table_name) AS columns FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation WHERE s.unregistered_at IS NULL ORDER BY s.fk_depth, s.table_id LOOP
        v_query := tide.snapshot_source(v_table.table_id, tide.home_bucket(v_user));
        CONTINUE WHEN v_query IS NULL OR v_shape IS NOT NULL AND v_table.columns IS NULL;
        EXECUTE format($sql$
            WITH written AS (
                INSERT INTO tide.snapshot_row (snapshot_id, row_ordinal, table_id, row_key, payload)
                SELECT $1, $2 + row_number() OVER (), q.table_id, q.row_key::json, CASE WHEN $4 IS NULL THEN q.payload ELSE tide.project_payload(q.payload, $4) END FROM (%s LIMIT $3) AS q
                RETURNING octet_length(payload::text) AS bytes
            )
            SELECT count(*), coalesce(sum(w.bytes), 0) FROM written AS w$sql$, v_query)
           INTO v_rows, v_bytes USING snapshot_id, row_count, v_setting.max_rows_per_snapshot - row_count + 1, v_table.columns;
        row_count := row_count + v_rows;
        byte_count := byte_count + v_bytes;
        IF row_count > v_setting.max_rows_per_snapshot OR byte_count > v_setting.max_bytes_per_snapshot THEN
            RAISE EXCEPTION 'the snapshot is too large for a session'
                USING ERRCODE = 'TD124', DETAIL = format('At most %s rows and %s bytes are allowed.', v_setting.max_rows_per_snapshot, v_setting.max_bytes_per_snapshot), HINT = 'Take it as a stream.';
        END IF;
    END LOOP;
    IF row_count > 0 AND coalesce(snapshot_bundle_seq, 0) = 0 THEN
        RAISE EXCEPTION 'a table waits to be read, and the home bucket has no position yet'
            USING ERRCODE = 'TD126', HINT = 'Try again after the next seal; SELECT * FROM tide.check() says more.';
    END IF;
    UPDATE tide.snapshot_session AS s
       SET row_count = create_snapshot_session.row_count, byte_count = create_snapshot_session.byte_count
     WHERE s.snapshot_id = create_snapshot_session.snapshot_id;
END;
$$;
COMMENT ON FUNCTION tide.create_snapshot_session(text, text, bigint) IS
'Copies the rows of a user''s home bucket, to be fetched in chunks, and ends an earlier copy of the same source: all tables as this REPEATABLE READ transaction sees them, at the position that a seal on the very same snapshot gave. Raises TD108, TD109, TD124 to TD126, TD128.';
