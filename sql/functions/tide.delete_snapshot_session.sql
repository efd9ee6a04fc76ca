CREATE OR REPLACE FUNCTION tide.delete_snapshot_session(user_id text, snapshot_id uuid)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    BEGIN
        PERFORM tide.snapshot_session(user_id, snapshot_id);
    EXCEPTION
        -- What may no longer be read may still be thrown away.
        WHEN SQLSTATE 'TD134' THEN
            NULL;
    END;
    DELETE FROM tide.snapshot_session AS s WHERE s.snapshot_id = delete_snapshot_session.snapshot_id;
    DELETE FROM tide.snapshot_page AS p WHERE p.snapshot_id = delete_snapshot_session.snapshot_id;
END;
$$;
COMMENT ON FUNCTION tide.delete_snapshot_session(text, uuid) IS 'Ends a snapshot. Raises TD119 to TD121.';
