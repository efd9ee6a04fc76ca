CREATE OR REPLACE FUNCTION tide.resolve_parents(relation regclass, key_columns name[], parent regclass, parent_fk text, several jsonb, OUT parents regclass[], OUT fks text[])
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_given  record;
    v_parent tide.synced_table;
    v_key    text[];
BEGIN
    parents := '{}';
    fks := '{}';
    IF (parent IS NULL) <> (parent_fk IS NULL) OR jsonb_typeof(several) <> 'object' OR parent IS NOT NULL AND several IS NOT NULL THEN
        RAISE EXCEPTION 'parents are not given as they should be'
            USING ERRCODE = 'TD004', HINT = 'Give parent => ''app.task'', parent_fk => ''task_id'', or several: parents => ''{"app.task": "task_id", "app.team": "org_id, team_id", "app.person": ["from_id", "to_id"]}''.';
    END IF;
    FOR v_given IN
        SELECT parent AS relation, parent_fk AS fk WHERE parent IS NOT NULL
         UNION ALL
        SELECT to_regclass(p.key), f.fk
          FROM jsonb_each(several) AS p
          LEFT JOIN LATERAL (
               SELECT p.value #>> '{}' WHERE jsonb_typeof(p.value) = 'string'
                UNION ALL
               SELECT e FROM jsonb_array_elements_text(CASE WHEN jsonb_typeof(p.value) = 'array' THEN p.value END) AS e) AS f (fk) ON true
    LOOP
        IF v_given.relation IS NULL OR v_given.fk IS NULL THEN
            RAISE EXCEPTION 'a parent is not there'
                USING ERRCODE = 'TD004', DETAIL = format('Given: %s.', several), HINT = 'Name each table with its schema, and the columns that refer to its key: {"app.task": "task_id"}.';
        END IF;
        IF v_given.relation = resolve_parents.relation THEN
            -- A tree: the table is its own parent.
            IF relation = ANY (parents) THEN
                RAISE EXCEPTION 'a tree has one way up'
                    USING ERRCODE = 'TD004', HINT = 'Name one column that refers to the table itself, and give the rest as a bucket_function with its dependencies.';
            END IF;
            v_key := coalesce(resolve_parents.key_columns::text[], ARRAY(
                SELECT a.attname FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = relation AND i.indisprimary));
        ELSE
            v_parent := tide.registered_table(v_given.relation);
            v_key := v_parent.key_columns;
        END IF;
        IF v_given.relation <> resolve_parents.relation AND NOT v_parent.synced THEN
            RAISE EXCEPTION 'table % has no buckets of its own', v_given.relation
                USING ERRCODE = 'TD004', HINT = 'Register it with a bucket rule first; its rows hand their buckets on.';
        END IF;
        parents := parents || v_given.relation;
        fks := fks || (SELECT string_agg(trim(BOTH FROM f), ',' ORDER BY n) FROM string_to_table(v_given.fk, ',') WITH ORDINALITY AS t (f, n));
        IF (SELECT count(*) FROM string_to_table(v_given.fk, ',')) <> cardinality(v_key) THEN
            RAISE EXCEPTION 'columns % do not refer to the key of table %', quote_literal(v_given.fk), v_given.relation
                USING ERRCODE = 'TD004',
                      DETAIL  = format('Its key is (%s).', array_to_string(v_key, ', ')),
                      HINT    = 'Name one column for each of these, in this order, separated by commas.';
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.resolve_parents(regclass, name[], regclass, text, jsonb) IS 'Parents given to tide.register_table, with the columns that refer to them. Raises TD004, TD009. Internal.';
