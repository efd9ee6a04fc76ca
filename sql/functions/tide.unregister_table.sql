CREATE OR REPLACE FUNCTION tide.unregister_table(table_name regclass)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table   tide.synced_table := tide.registered_table(table_name);
    v_trigger record;
    v_grant   text;
    v_dependants text;
BEGIN
    LOCK TABLE tide.synced_table IN SHARE ROW EXCLUSIVE MODE;
    SELECT string_agg(s.relation::text, ', ') INTO v_dependants
      FROM tide.bucket_source AS b JOIN tide.synced_table AS s ON s.table_id = b.table_id
     WHERE b.source_id = v_table.table_id AND b.table_id <> v_table.table_id;
    IF v_dependants IS NOT NULL THEN
        RAISE EXCEPTION 'buckets of other tables hang on %', table_name
            USING ERRCODE = 'TD021', DETAIL = format('These: %s.', v_dependants), HINT = 'Give them another rule, or unregister them first.';
    END IF;
    PERFORM tide.lock_briefly(table_name, 'ACCESS EXCLUSIVE');
    PERFORM tide.disable_rls(table_name);
    -- Also on partitions that were detached meanwhile.
    FOR v_trigger IN
        SELECT t.tgrelid::regclass AS relation, t.tgname AS name
          FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
         WHERE p.pronamespace = 'tide'::regnamespace
           AND NOT t.tgisinternal
           AND (p.proname ~ format('^capture_%s_', v_table.table_id)
                OR p.proname = 'draw_order' AND t.tgrelid = ANY (v_table.partitions || v_table.relation))
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', v_trigger.name, v_trigger.relation);
    END LOOP;
    EXECUTE (SELECT string_agg(format('DROP FUNCTION IF EXISTS tide.%I();', tide.capture_function(v_table.table_id, e)), ' ')
               FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS e);
    PERFORM tide.drop_push_functions(v_table.table_id);
    DELETE FROM tide.reading AS r WHERE r.table_id = v_table.table_id;
    DELETE FROM tide.bucket_dependency AS d WHERE d.table_id = v_table.table_id;
    DELETE FROM tide.access_dependency AS a WHERE a.source_id = v_table.table_id;
    -- Where its rows lay stays known: devices still have them, should it be registered again.
    DELETE FROM tide.bucket_failure AS f WHERE f.table_id = v_table.table_id;
    UPDATE tide.synced_table AS s SET unregistered_at = now(), granted = '{}', derived = false WHERE s.table_id = v_table.table_id;
    PERFORM tide.set_bucket_sources();
    PERFORM tide.write_bucket_functions(v_table.table_id);
    PERFORM tide.set_shape();

    FOREACH v_grant IN ARRAY v_table.granted LOOP
        PERFORM tide.take_back(v_grant, v_table.table_id);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.unregister_table(regclass) IS 'Stops capturing a table and takes back every trigger, grant and policy that registering it made. The log keeps what it has. Raises TD007, TD008, TD009, TD021.';
