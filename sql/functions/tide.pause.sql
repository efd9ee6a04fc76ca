CREATE OR REPLACE FUNCTION tide.pause()
    RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE tide.setting SET paused_at = now() WHERE paused_at IS NULL;
    SELECT tide.write_capture_functions(s.table_id) FROM tide.synced_table AS s WHERE s.unregistered_at IS NULL;
    SELECT;
$$;
COMMENT ON FUNCTION tide.pause() IS 'Stops capture, without a lock on any table: at once for transactions that have captured nothing yet, at their end for others. Writes go on unseen until tide.resume(); devices then take a snapshot.';
