-- Runs as its caller, as only such a function may change the role.
CREATE OR REPLACE FUNCTION tide.run_push_step(table_id integer, rls boolean, op "char", rows tide.pushed_row[], user_id text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role    text := current_setting('role');
    v_written bigint;
BEGIN
    IF rls THEN
        PERFORM set_config('role', tide.client_role(), true);
    END IF;
    EXECUTE format('SELECT tide.push_%s_%s($1, $2)', table_id, CASE op WHEN 'I' THEN 'insert' WHEN 'U' THEN 'update' ELSE 'delete' END) INTO v_written USING rows, user_id;
    IF rls THEN
        PERFORM set_config('role', v_role, true);
    END IF;
    IF v_written <> cardinality(rows) THEN
        RAISE EXCEPTION 'the row may not be written so: it is not the caller''s, its payload has another key, a protected column would change, or a trigger suppressed it'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.run_push_step(integer, boolean, "char", tide.pushed_row[], text) IS 'Writes pushed rows of one table and operation, all or none. Internal.';
