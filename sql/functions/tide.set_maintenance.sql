CREATE OR REPLACE FUNCTION tide.set_maintenance(message text, retry_after interval DEFAULT '1 minute')
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF retry_after IS NULL OR retry_after <= '0'::interval THEN
        RAISE EXCEPTION 'retry_after is not positive' USING ERRCODE = 'TD006', HINT = 'Say how long devices are to wait before they try again.';
    END IF;
    UPDATE tide.setting SET maintenance_message = message, maintenance_retry_after = retry_after;
END;
$$;
COMMENT ON FUNCTION tide.set_maintenance(text, interval) IS
'Makes every runtime answer 503 with this message and Retry-After, within a second, and refuses pushes here as well; NULL ends it. Capture and sealing go on. Raises TD006.';
