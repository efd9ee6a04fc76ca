CREATE OR REPLACE FUNCTION tide.head()
    RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET max_parallel_workers_per_gather = 0
AS $$
BEGIN
    RETURN (
        SELECT s.last_bundle_id FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1);
END;
$$;
COMMENT ON FUNCTION tide.head() IS 'Last bundle_id that may be read: that of the newest seal that is complete.';
