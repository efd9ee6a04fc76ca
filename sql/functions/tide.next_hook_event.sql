-- Taken in a transaction of its own: a hook that never ends, or takes the connection with it, has been tried
-- once more all the same, and does not keep the others waiting.
CREATE OR REPLACE FUNCTION tide.next_hook_event()
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_event_id bigint;
    -- Of the transaction in which the hook is called, too.
    v_timeout  interval := interval '1 millisecond' * (SELECT s.setting::bigint FROM pg_settings AS s WHERE s.name = 'statement_timeout');
BEGIN
    UPDATE tide.hook_event AS e
       SET attempts = e.attempts + 1, next_try_at = clock_timestamp() + v_timeout + least(interval '1 second' * 2 ^ least(e.attempts, 20), interval '10 minutes'), error = coalesce(e.error, 'not finished')
     WHERE e.event_id = (SELECT d.event_id FROM tide.hook_event AS d WHERE d.next_try_at <= clock_timestamp() ORDER BY d.event_id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING e.event_id INTO v_event_id;
    RETURN v_event_id;
END;
$$;
COMMENT ON FUNCTION tide.next_hook_event() IS 'What a hook is to be told next, NULL for nothing now; give it to tide.deliver_hook_event in another transaction. One that fails is given again, after 1, 2, 4 ... seconds, at most 10 minutes.';
