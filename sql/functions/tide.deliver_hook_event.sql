CREATE OR REPLACE FUNCTION tide.deliver_hook_event(event_id bigint)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_event tide.hook_event;
BEGIN
    SELECT * INTO v_event FROM tide.hook_event AS e WHERE e.event_id = deliver_hook_event.event_id FOR UPDATE SKIP LOCKED;
    IF v_event.event_id IS NULL THEN
        RETURN false;
    END IF;
    BEGIN
        PERFORM tide.call_hook(v_event.hook, v_event.event || jsonb_build_object('event_id', v_event.event_id, 'happened_at', v_event.happened_at));
        -- A constraint that waits for the end of the transaction would take this record with it.
        SET CONSTRAINTS ALL IMMEDIATE;
    EXCEPTION
        WHEN OTHERS THEN
            UPDATE tide.hook_event AS e
               SET error = left(sqlstate || ': ' || sqlerrm, 2000), next_try_at = clock_timestamp() + least(interval '1 second' * 2 ^ least(e.attempts - 1, 20), interval '10 minutes')
             WHERE e.event_id = v_event.event_id;
            RETURN false;
    END;
    DELETE FROM tide.hook_event AS e WHERE e.event_id = v_event.event_id;
    RETURN true;
END;
$$;
COMMENT ON FUNCTION tide.deliver_hook_event(bigint) IS 'Tells a hook what happened; true when it has it, in this transaction. What it raises is kept in tide.hook_events.';
