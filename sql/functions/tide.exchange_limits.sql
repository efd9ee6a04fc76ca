CREATE OR REPLACE FUNCTION tide.exchange_limits()
    RETURNS TABLE (max_rows_per_push bigint, max_bytes_per_push bigint, max_rows_per_chunk integer, push_session_ttl interval, max_push_sessions integer,
                   snapshot_session_ttl interval, max_snapshot_sessions integer, max_rows_per_snapshot bigint, max_bytes_per_snapshot bigint, initialization_lease_ttl interval)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.max_rows_per_push, s.max_bytes_per_push, s.max_rows_per_chunk, s.push_session_ttl, s.max_push_sessions,
           s.snapshot_session_ttl, s.max_snapshot_sessions, s.max_rows_per_snapshot, s.max_bytes_per_snapshot, s.initialization_lease_ttl
      FROM tide.setting AS s;
$$;
COMMENT ON FUNCTION tide.exchange_limits() IS 'The bounds of pushes and snapshots that tide.setting has.';
