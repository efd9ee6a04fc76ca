CREATE OR REPLACE FUNCTION tide.add_access_dependency(on_table regclass, columns text, affects text DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_columns text[] := ARRAY(SELECT trim(BOTH FROM c) FROM string_to_table(columns, ',') AS c);
    v_table   tide.synced_table;
    v_problem text;
BEGIN
    IF affects IS NULL AND cardinality(v_columns) <> 1 THEN
        RAISE EXCEPTION 'it is not said whose access a change of % is about', on_table
            USING ERRCODE = 'TD022',
                  DETAIL  = format('Columns: %s.', array_to_string(v_columns, ', ')),
                  HINT    = 'Name the one column that holds the user, or give a query in affects that selects the users: SELECT m.user_id FROM app.team_member AS m WHERE m.team_id = changed.team_id.';
    END IF;
    PERFORM tide.watch_columns(on_table, v_columns);
    SELECT * INTO v_table FROM tide.synced_table AS s WHERE s.relation = on_table;
    INSERT INTO tide.access_dependency AS a (source_id, source_columns, affects)
    VALUES (v_table.table_id, v_columns, affects)
        ON CONFLICT ON CONSTRAINT access_dependency_pkey DO UPDATE SET affects = excluded.affects;
    -- Who writes under the old capture functions must be done before.
    PERFORM tide.lock_briefly(on_table, 'SHARE ROW EXCLUSIVE');
    PERFORM tide.apply_registration(v_table, false, false);
    BEGIN
        EXECUTE format('SELECT tide_q.user_id::text FROM (SELECT NULL::json AS image) AS tide_i CROSS JOIN LATERAL (SELECT %s) AS changed CROSS JOIN LATERAL (%s) AS tide_q (user_id)',
            tide.changed_columns(v_table.table_id, v_columns), coalesce(affects, format('SELECT changed.%I', v_columns[1])));
    EXCEPTION
        WHEN syntax_error_or_access_rule_violation THEN
            v_problem := sqlerrm;
    END;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'the query in affects cannot be run'
            USING ERRCODE = 'TD022', DETAIL = v_problem, HINT = format('It selects users, one column, names every table with its schema, and sees these columns of changed: %s.', columns);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.add_access_dependency(regclass, text, text) IS
'Declares that a table decides which buckets users may read: when a row changes there, before and after, the devices of the user in the one column named, or of those that the query in affects selects (the changed row is called changed, the columns named are what it has), hear of it in their home bucket. Raises TD001, TD003, TD007, TD008, TD022.';
