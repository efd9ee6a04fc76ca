CREATE OR REPLACE FUNCTION tide.write_push_functions(table_id integer)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = write_push_functions.table_id);
    v_client  name := (SELECT s.client_role FROM tide.setting AS s);
    v_path    text;
    v_name    text;
    v_current record;
    v_settings text;
    v_source  text;
    v_written boolean := false;
    v_part    record;
BEGIN
    IF v_table.push_policy = 'disabled' THEN
        PERFORM tide.drop_push_functions(table_id);
        RETURN false;
    END IF;
    SELECT coalesce(string_agg(quote_ident(p) || ', ', ''), '') || 'pg_temp' INTO v_path FROM unnest(tide.push_schemas(v_table.push_search_path)) AS p;
    FOR v_part IN
        SELECT *
          FROM (VALUES ('keys',   '',                          'tide.pushed_row[]'),
                       ('lock',   ', text, boolean',           'TABLE (ordinal bigint, dead boolean)'),
                       ('image',  ', text',                    'TABLE (ordinal bigint, dead boolean, payload json)'),
                       ('insert', ', text',                    'bigint'),
                       ('update', ', text',                    'bigint'),
                       ('delete', ', text',                    'bigint')) AS p (part, arguments, result)
    LOOP
        v_name := format('push_%s_%s', table_id, v_part.part);
        v_source := tide.push_source(table_id, v_part.part);
        -- Triggers and policies run in the path of their application; reading and locking are by key, whatever the statistics say.
        v_settings := concat_ws(E'\n    ',
            CASE WHEN v_part.part IN ('keys', 'image') THEN tide.capture_settings(table_id)
                 ELSE format(E'SET search_path = %s\n    SET TimeZone = ''UTC''\n    SET DateStyle = ''ISO, YMD''\n    SET IntervalStyle = ''postgres''', v_path) END,
            'SET plan_cache_mode = force_generic_plan SET jit = off',
            CASE WHEN v_part.part NOT IN ('keys', 'insert') THEN 'SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off' END);
        SELECT p.oid, p.prosrc, p.prosecdef, obj_description(p.oid, 'pg_proc') AS remark INTO v_current
          FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND p.proname = v_name;
        CONTINUE WHEN v_current.prosrc = v_source AND v_current.prosecdef = (v_table.push_policy = 'owner_only') AND v_current.remark LIKE '%' || md5(v_settings)
                  AND (v_table.push_policy <> 'rls' OR has_function_privilege(v_client, v_current.oid, 'EXECUTE'));
        EXECUTE format(E'CREATE OR REPLACE FUNCTION tide.%I(tide.pushed_row[]%s)\n    RETURNS %s\n    LANGUAGE plpgsql %s\n    %s\nAS %L',
            v_name, v_part.arguments, v_part.result, CASE WHEN v_table.push_policy = 'owner_only' THEN 'SECURITY DEFINER' ELSE 'SECURITY INVOKER' END, v_settings, v_source);
        EXECUTE format('COMMENT ON FUNCTION tide.%I IS %L', v_name,
            format('The step %s of pushing to %s.%s. Written by pgtide; tide.refresh writes it anew. %s', v_part.part, v_table.table_schema, v_table.table_name, md5(v_settings)));
        EXECUTE format('ALTER FUNCTION tide.%I OWNER TO tide_owner', v_name);
        EXECUTE format('REVOKE ALL ON FUNCTION tide.%I FROM PUBLIC', v_name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION tide.%I TO tide_runtime', v_name);
        IF v_table.push_policy = 'rls' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION tide.%I TO %I', v_name, v_client);
        END IF;
        v_written := true;
    END LOOP;
    UPDATE tide.synced_table AS s
       SET push_columns = c.names
      FROM (SELECT ARRAY(SELECT k.column_name FROM tide.synced_columns(write_push_functions.table_id) AS k WHERE k.in_payload) AS names) AS c
     WHERE s.table_id = write_push_functions.table_id AND s.push_columns IS DISTINCT FROM c.names;
    RETURN v_written;
END;
$$;
COMMENT ON FUNCTION tide.write_push_functions(integer) IS 'Writes the push functions of a table where they are missing or not as they should be, and says whether it did. Internal.';
