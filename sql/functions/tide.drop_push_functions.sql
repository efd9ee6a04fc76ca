CREATE OR REPLACE FUNCTION tide.drop_push_functions(table_id integer)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT p.oid FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND p.proname ~ format('^push_%s_', drop_push_functions.table_id)
    LOOP
        EXECUTE format('DROP FUNCTION %s', v_function);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.drop_push_functions(integer) IS 'Drops the functions that write pushes to a table. Internal.';
