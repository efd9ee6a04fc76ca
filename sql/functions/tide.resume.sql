CREATE OR REPLACE FUNCTION tide.resume()
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    UPDATE tide.setting SET paused_at = NULL WHERE paused_at IS NOT NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The lock lets writers that still do not capture finish: the seal must see all they did.
    PERFORM tide.lock_briefly(s.relation, 'SHARE ROW EXCLUSIVE'),
            tide.write_capture_functions(s.table_id),
            tide.mark_table(s.table_id, '!', 'resumed')
       FROM (SELECT t.* FROM tide.synced_table AS t JOIN pg_class AS c ON c.oid = t.relation
              WHERE t.unregistered_at IS NULL ORDER BY t.table_id) AS s;
END;
$$;
COMMENT ON FUNCTION tide.resume() IS 'Starts capture again after tide.pause(), and has the next seal send devices to a snapshot of what changed meanwhile. Raises TD007, TD008.';
