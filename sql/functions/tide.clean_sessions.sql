-- Each session by itself, and none that somebody is at work with.
CREATE OR REPLACE FUNCTION tide.clean_sessions()
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_pushes    bigint;
    v_snapshots bigint;
BEGIN
    DELETE FROM tide.push_session AS s
     WHERE s.push_id IN (SELECT e.push_id FROM tide.push_session AS e WHERE e.expires_at <= clock_timestamp() LIMIT 1000 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_pushes = ROW_COUNT;
    WITH ended AS (
        DELETE FROM tide.snapshot_session AS s
         WHERE s.snapshot_id IN (SELECT e.snapshot_id FROM tide.snapshot_session AS e WHERE e.expires_at <= clock_timestamp() LIMIT 100 FOR UPDATE SKIP LOCKED)
        RETURNING s.snapshot_id
    ), pages AS (
        DELETE FROM tide.snapshot_page AS p USING ended AS e WHERE p.snapshot_id = e.snapshot_id
    )
    SELECT count(*) INTO v_snapshots FROM ended;
    DELETE FROM tide.scope_lease AS l
     WHERE l.user_id IN (SELECT e.user_id FROM tide.scope_lease AS e WHERE e.expires_at <= clock_timestamp() - interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED);
    RETURN v_pushes + v_snapshots;
END;
$$;
COMMENT ON FUNCTION tide.clean_sessions() IS 'Ends push and snapshot sessions that have expired, and says how many. Called by the sealing duty.';
