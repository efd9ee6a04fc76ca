-- One step at a time: the row's own rule, then each of its parents, theirs, and so on.
CREATE OR REPLACE FUNCTION tide.why_bucket(table_name regclass, key jsonb, via text DEFAULT NULL)
    RETURNS TABLE (bucket_id text, rule text, because text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_table   tide.synced_table := tide.registered_table(why_bucket.table_name);
    v_key     text := tide.key_text(why_bucket.table_name, key);
    v_here    text := concat_ws(' -> ', via, v_table.relation::text || ' ' || v_key);
    v_found   text := (SELECT string_agg(format('tide_n.%I OPERATOR(%s) %s', k.current_name, k.equality, k.value), ' AND ') FROM tide.key_columns(v_table.table_id, '$1') AS k);
    v_own     text := tide.own_buckets(v_table.table_id, 'tide_n');
    v_deleted text := tide.deleted_expression(v_table.table_id, 'tide_n');
    v_looks   text;
    v_parent  record;
    v_next    jsonb;
BEGIN
    -- A circle in a tree, or a chain that nobody can follow any more.
    IF strpos(via, v_table.relation::text || ' ' || v_key) > 0 OR length(via) > 10000 THEN
        RETURN;
    END IF;
    v_found := concat_ws(' AND ', v_found, '(' || v_deleted || ') IS NOT TRUE');
    -- What a function found: rows of the tables it looks at that have to do with this one.
    SELECT string_agg(CASE
               WHEN d.table_columns IS NULL THEN format('ARRAY[%L]', s.relation::text || ' by its query')
               ELSE format('ARRAY(SELECT %L || tide_s::text FROM (SELECT tide_d.* FROM %s AS tide_d WHERE %s LIMIT 10) AS tide_s)', s.relation::text || ' ', s.relation,
                           (SELECT string_agg(format('tide_d.%I OPERATOR(%s) tide_n.%I::%s', sc.current_name, t.equality, tc.current_name, t.type), ' AND ')
                              FROM unnest(d.table_columns, d.source_columns) AS p (name, source)
                              JOIN tide.synced_columns(v_table.table_id) AS tc ON tc.column_name = p.name
                              JOIN tide.synced_columns(d.source_id) AS sc ON sc.column_name = p.source
                             CROSS JOIN LATERAL tide.column_equality(s.relation, sc.current_name) AS t)) END, ' || ' ORDER BY d.source_id)
      INTO v_looks
      FROM tide.bucket_dependency AS d JOIN tide.synced_table AS s ON s.table_id = d.source_id WHERE d.table_id = v_table.table_id;
    IF v_own IS NOT NULL THEN
        RETURN QUERY EXECUTE format('SELECT b, %L, concat_ws('' <- '', %L, nullif(array_to_string(%s, '', ''), '''')) FROM %s AS tide_n CROSS JOIN LATERAL unnest(%s) AS b WHERE %s',
            CASE
                WHEN v_table.bucket IS NOT NULL THEN 'bucket => ' || quote_literal(v_table.bucket)
                WHEN v_table.bucket_function IS NOT NULL THEN 'bucket_function => ' || quote_literal(v_table.bucket_function)
                ELSE 'owner_column => ' || quote_literal(v_table.owner_column)
            END, v_here, coalesce(v_looks, 'NULL::text[]'), v_table.relation, v_own, v_found) USING v_key;
    END IF;
    FOR v_parent IN
        SELECT c.parent, string_agg(format('%L, tide_n.%I::text', c.key_name, c.fk_column), ', ') AS key,
               string_agg(format('tide_n.%I IS NOT NULL', c.fk_column), ' AND ') AS given
          FROM tide.parent_columns(v_table.table_id) AS c GROUP BY c.parent_ordinal, c.parent ORDER BY c.parent_ordinal
    LOOP
        EXECUTE format('SELECT jsonb_build_object(%s) FROM %s AS tide_n WHERE %s AND %s', v_parent.key, v_table.relation, v_found, v_parent.given) INTO v_next USING v_key;
        IF v_next IS NOT NULL THEN
            RETURN QUERY SELECT w.bucket_id, w.rule, w.because FROM tide.why_bucket(v_parent.parent, v_next, v_here) AS w;
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.why_bucket(regclass, jsonb, text) IS
'Why a row lies in its buckets, as the tables are now: the rule that gives each, the rows from this one to the one it is about, and after <- the rows that its function looks at. SELECT * FROM tide.why_bucket(''app.comment'', ''{"id": 42}''). Raises TD003, TD009.';
