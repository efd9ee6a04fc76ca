CREATE OR REPLACE FUNCTION tide.lock_pushed(rows tide.pushed_row[], user_id text)
    RETURNS TABLE (ordinal bigint, dead boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role  text := current_setting('role');
    v_group record;
BEGIN
    -- All pushes lock in the same order: by table, then by key.
    FOR v_group IN SELECT * FROM tide.push_groups(rows, false) AS g ORDER BY g.table_id LOOP
        IF v_group.rls THEN
            PERFORM set_config('role', tide.client_role(), true);
        END IF;
        RETURN QUERY EXECUTE format('SELECT * FROM tide.push_%s_lock($1, $2, $3)', v_group.table_id)
            USING v_group.rows, user_id, EXISTS (SELECT FROM unnest(v_group.rows) AS r WHERE r.op = 'D');
        IF v_group.rls THEN
            PERFORM set_config('role', v_role, true);
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.lock_pushed(tide.pushed_row[], text) IS 'Locks the rows that a push is about, and returns those that are there. Internal.';
