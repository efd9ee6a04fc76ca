CREATE OR REPLACE FUNCTION tide.call_hook(hook text, event jsonb)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_function text := (SELECT h.hook_function FROM tide.hook AS h WHERE h.hook = call_hook.hook);
BEGIN
    IF v_function IS NOT NULL THEN
        EXECUTE format('SELECT %s($1)', v_function::regprocedure::regproc) USING event;
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.call_hook(text, jsonb) IS 'Calls the function of a hook, if there is one. Internal.';
