CREATE OR REPLACE FUNCTION tide.assert_scope(user_id text)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CASE tide.scope_state(user_id)
        WHEN 'initialized' THEN
            RETURN;
        WHEN 'initializing' THEN
            RAISE EXCEPTION 'another device is filling this home bucket'
                USING ERRCODE = 'TD109', HINT = 'Connect again when its lease has ended.';
        ELSE
            RAISE EXCEPTION 'this home bucket has not begun yet'
                USING ERRCODE = 'TD108', HINT = 'Connect first.';
    END CASE;
END;
$$;
COMMENT ON FUNCTION tide.assert_scope(text) IS 'Raises TD108 or TD109 unless the home bucket of a user has begun.';
