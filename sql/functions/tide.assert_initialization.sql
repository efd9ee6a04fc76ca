CREATE OR REPLACE FUNCTION tide.assert_initialization(user_id text, source_id text, initialization_id uuid)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_lease tide.scope_lease := (SELECT l FROM tide.scope_lease AS l WHERE l.user_id = assert_initialization.user_id);
BEGIN
    CASE tide.scope_state(user_id)
        WHEN 'initialized' THEN
            -- Also of a lease that others took over since: a device that is not told so would send it for ever.
            IF initialization_id IS NOT NULL THEN
                RAISE EXCEPTION 'somebody else has begun this home bucket meanwhile'
                    USING ERRCODE = 'TD110', HINT = 'Connect again.';
            END IF;
        WHEN 'initializing' THEN
            IF initialization_id IS NULL THEN
                RAISE EXCEPTION 'initialization_id is missing'
                    USING ERRCODE = 'TD101', HINT = 'Connect, and send the one it gives.';
            ELSIF v_lease.source_id <> source_id OR v_lease.initialization_id <> initialization_id THEN
                RAISE EXCEPTION 'this initialization_id is not that of the lease'
                    USING ERRCODE = 'TD110', HINT = 'Connect again.';
            END IF;
        ELSE
            IF initialization_id IS NOT NULL THEN
                RAISE EXCEPTION 'the lease to fill this home bucket has ended'
                    USING ERRCODE = 'TD111', HINT = 'Connect again.';
            END IF;
            PERFORM tide.assert_scope(user_id);
    END CASE;
END;
$$;
COMMENT ON FUNCTION tide.assert_initialization(text, text, uuid) IS 'Raises TD101, TD108 to TD111 unless a source may push now, with this initialization_id or without one. Internal.';
