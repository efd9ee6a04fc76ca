-- Written with what it tells of, and told later: a hook that fails, or takes long, is in nobody's way.
CREATE OR REPLACE FUNCTION tide.queue_event(hook text, event jsonb)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.hook_event (hook, event)
    SELECT h.hook, queue_event.event FROM tide.hook AS h WHERE h.hook = queue_event.hook;
END;
$$;
COMMENT ON FUNCTION tide.queue_event(text, jsonb) IS 'Keeps for a hook, if there is one, what it is to be told. Internal.';
