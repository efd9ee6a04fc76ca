-- Attaching a partition locks the DEFAULT one exclusively. Whoever seals or reads has locks of several
-- logs, so those of all logs are taken at once, that of the log first which sealing reads first: who
-- waits for one while he holds another waits for a moment only, and is never in a deadlock.
CREATE OR REPLACE FUNCTION tide.lock_logs()
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '150ms'
AS $$
BEGIN
    LOCK TABLE tide.seal_log_default, tide.change_log_default, tide.key_log_default, tide.bundle_log_default IN ACCESS EXCLUSIVE MODE;
END;
$$;
COMMENT ON FUNCTION tide.lock_logs() IS 'Keeps sealing and readers out of the logs for the rest of the transaction. Raises 55P03 when somebody reads them. Internal.';
