CREATE OR REPLACE FUNCTION tide.front_settings()
    RETURNS TABLE (maintenance_message text, maintenance_retry_after interval, min_app_version text, app_version_required boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.maintenance_message, s.maintenance_retry_after, s.min_app_version, s.app_version_required FROM tide.setting AS s;
$$;
COMMENT ON FUNCTION tide.front_settings() IS 'What tide.setting says to those who serve devices; they ask once a second.';
