CREATE OR REPLACE FUNCTION tide.add_bucket_dependency(
    table_name    regclass,
    on_table      regclass,
    columns       text,
    table_columns text DEFAULT NULL,
    affects       text DEFAULT NULL
)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := tide.registered_table(table_name);
    v_columns text[] := ARRAY(SELECT trim(BOTH FROM c) FROM string_to_table(columns, ',') AS c);
    v_matched text[] := ARRAY(SELECT trim(BOTH FROM c) FROM string_to_table(table_columns, ',') AS c);
    v_source  integer;
BEGIN
    IF NOT v_table.derived THEN
        RAISE EXCEPTION 'buckets of table % hang on nothing but the row', table_name
            USING ERRCODE = 'TD022', HINT = 'Register it with a STABLE bucket_function, or with a parent.';
    END IF;
    IF table_columns IS NULL AND affects IS NULL THEN
        v_matched := v_table.key_columns;
    END IF;
    IF table_columns IS NOT NULL AND affects IS NOT NULL OR affects IS NULL AND cardinality(v_matched) <> cardinality(v_columns) THEN
        RAISE EXCEPTION 'it is not said which rows of % a change of % reaches', table_name, on_table
            USING ERRCODE = 'TD022',
                  DETAIL  = format('Columns of %s: %s. Columns of %s: %s.', on_table, array_to_string(v_columns, ', '), table_name, array_to_string(v_matched, ', ')),
                  HINT    = 'Name as many table_columns as columns (left out, they are the key), or give a query in affects that selects the rows: SELECT t.* FROM app.task AS t WHERE t.team_id = changed.team_id.';
    END IF;
    PERFORM tide.watch_columns(on_table, v_columns);
    SELECT s.table_id INTO v_source FROM tide.synced_table AS s WHERE s.relation = on_table;
    INSERT INTO tide.bucket_dependency AS d (table_id, source_id, source_columns, table_columns, affects)
    VALUES (v_table.table_id, v_source, v_columns, CASE WHEN affects IS NULL THEN v_matched END, affects)
        ON CONFLICT ON CONSTRAINT bucket_dependency_pkey DO UPDATE SET table_columns = excluded.table_columns, affects = excluded.affects;
    -- Registering again writes what the new declaration needs, of both. Who writes under the old capture functions must be done before.
    PERFORM tide.lock_briefly(on_table, 'SHARE ROW EXCLUSIVE');
    PERFORM tide.apply_registration(s, false, false) FROM tide.synced_table AS s WHERE s.relation = on_table;
    PERFORM tide.apply_registration(s, false, false) FROM tide.synced_table AS s WHERE s.table_id = v_table.table_id;
    IF affects IS NOT NULL THEN
        BEGIN
            EXECUTE format('SELECT FROM tide.affected_%s(NULL)', v_table.table_id);
        EXCEPTION
            WHEN syntax_error_or_access_rule_violation THEN
                RAISE EXCEPTION 'the query in affects cannot be run'
                    USING ERRCODE = 'TD022', DETAIL = sqlerrm, HINT = format('It selects whole rows of %s, names every table with its schema, and sees these columns of changed: %s.', table_name, columns);
        END;
    END IF;
    PERFORM tide.mark_table(v_table.table_id, 'A', format('hangs on %s', on_table), '{}');
END;
$$;
COMMENT ON FUNCTION tide.add_bucket_dependency(regclass, regclass, text, text, text) IS
'Declares that the bucket function of a table looks at another one: when a row there changes, rows of this table are judged again, those whose table_columns (left out: the key) equal columns of the changed row, before or after, or those that the query in affects selects, where the changed row is called changed. The other table is captured from now on, also when no device gets it. Raises TD001 to TD009, TD020, TD022.';
