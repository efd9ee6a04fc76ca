CREATE OR REPLACE FUNCTION tide.write_capture_functions(table_id integer)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table;
    v_event   text;
    v_name    text;
    v_source  text;
    v_written boolean := false;
BEGIN
    -- Nothing that is wrong with a table may keep anybody from pausing; tide.resume() comes here again.
    IF (SELECT s.paused_at IS NULL FROM tide.setting AS s) THEN
        v_written := tide.keep_reading(table_id);
    END IF;
    SELECT * INTO STRICT v_table FROM tide.synced_table AS s WHERE s.table_id = write_capture_functions.table_id;
    FOREACH v_event IN ARRAY ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] LOOP
        v_name := tide.capture_function(table_id, v_event);
        v_source := tide.capture_source(table_id, v_event);
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_proc AS p
             WHERE p.pronamespace = 'tide'::regnamespace AND p.proname = v_name AND p.prosrc = v_source);
        EXECUTE format(E'CREATE OR REPLACE FUNCTION tide.%I()\n    RETURNS trigger\n    LANGUAGE plpgsql SECURITY DEFINER\n    %s\nAS %L',
            v_name,
            -- A plan made while the table was small must not scan it whole when it is not.
            tide.capture_settings(table_id) || CASE WHEN v_event IN ('UPDATE', 'DELETE') THEN E'\n    SET enable_seqscan = off' ELSE '' END, v_source);
        EXECUTE format('COMMENT ON FUNCTION tide.%I() IS %L', v_name,
            format('Captures %s on %s.%s. Written by pgtide; tide.refresh writes it anew.', v_event, v_table.table_schema, v_table.table_name));
        EXECUTE format('ALTER FUNCTION tide.%I() OWNER TO tide_owner', v_name);
        EXECUTE format('REVOKE ALL ON FUNCTION tide.%I() FROM PUBLIC', v_name);
        v_written := true;
    END LOOP;
    RETURN v_written;
END;
$$;
COMMENT ON FUNCTION tide.write_capture_functions(integer) IS 'Writes the capture functions of a table where they are missing or not as they should be, and says whether it did. Takes no lock on the table. Internal.';
