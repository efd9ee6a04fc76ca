-- Runs as its caller, as only such a function may change the role.
CREATE OR REPLACE FUNCTION tide.run_push_step(table_id integer, policy text, part text, rows tide.pushed_row[], user_id text)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role    text := current_setting('role');
    v_written bigint;
BEGIN
    IF policy = 'rls' THEN
        PERFORM set_config('role', tide.client_role(), true);
    END IF;
    EXECUTE format('SELECT tide.push_%s_%s($1, $2)', table_id, part) INTO v_written USING rows, user_id;
    IF policy = 'rls' THEN
        PERFORM set_config('role', v_role, true);
    END IF;
    RETURN v_written;
END;
$$;
COMMENT ON FUNCTION tide.run_push_step(integer, text, text, tide.pushed_row[], text) IS 'Writes pushed rows of one table and operation, and says how many. Internal.';
