CREATE OR REPLACE FUNCTION tide.assert_open()
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_message text := (SELECT s.maintenance_message FROM tide.setting AS s);
BEGIN
    IF v_message IS NOT NULL THEN
        RAISE EXCEPTION 'devices have to wait' USING ERRCODE = 'TD129', DETAIL = v_message, HINT = 'Try again later.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_open() IS 'Raises TD129 during maintenance. Internal.';
