-- From the rows of the wire to rows with a table, an operation and a canonical key. Everything that
-- can be said against a row without looking at the table is said here, all at once.
CREATE OR REPLACE FUNCTION tide.parse_push(rows json, first_ordinal bigint DEFAULT 0)
    RETURNS tide.pushed_row[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    v_rows     tide.pushed_row[];
    v_keyed    tide.pushed_row[] := '{}';
    v_table    record;
    v_row      tide.pushed_row;
    v_problems jsonb[]; -- of objects with row_ordinal, sqlstate, detail
BEGIN
    IF json_typeof(rows) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'rows of a push are not an array' USING ERRCODE = 'TD102', HINT = 'Send "rows": [{"schema", "table", "key", "op", "base_row_version", "payload"}, ...].';
    END IF;
    BEGIN
        -- The text is read once here, and each payload once for the names of its columns. A table is looked
        -- for once for each way it is written.
        WITH sent AS MATERIALIZED (
            SELECT f.*, coalesce(nullif(btrim(f.schema), ''), 'public') AS schema_name, btrim(f."table") AS table_name
              FROM ROWS FROM (json_to_recordset(rows) AS (schema text, "table" text, key json, op text, base_row_version text, payload json))
                   WITH ORDINALITY AS f (schema, "table", key, op, base_row_version, payload, nth)
        ), named AS (
            SELECT n.schema_name, n.table_name, t.table_id, t.push_policy
              FROM (SELECT DISTINCT f.schema_name, f.table_name FROM sent AS f) AS n
             CROSS JOIN LATERAL (
                       SELECT t.table_id, t.push_policy
                         FROM tide.synced_table AS t
                        WHERE t.unregistered_at IS NULL AND t.synced
                          AND (t.table_schema, t.table_name) IN ((n.schema_name, n.table_name), (lower(n.schema_name), lower(n.table_name)))
                        ORDER BY t.table_name = n.table_name DESC
                        LIMIT 1) AS t
        )
        SELECT array_agg(ROW(first_ordinal + p.nth - 1, p.table_id, p.op, p.base, NULL, NULL, p.key, p.payload, p.columns)::tide.pushed_row),
               array_agg(jsonb_build_object('row_ordinal', first_ordinal + p.nth - 1, 'sqlstate', 'TD102', 'detail', p.problem) ORDER BY p.nth) FILTER (WHERE p.problem IS NOT NULL)
          INTO v_rows, v_problems
          FROM (SELECT f.nth, s.table_id, o.op, f.key, f.payload, c.names AS columns,
                       v.base,
                       CASE
                           WHEN f."table" IS NULL THEN 'no table is named'
                           WHEN s.table_id IS NULL THEN format('table %s.%s is not registered', f.schema_name, f.table_name)
                           WHEN s.push_policy = 'disabled' THEN format('table %s.%s does not take pushes', f.schema_name, f.table_name)
                           WHEN o.op IS NULL THEN 'op is not INSERT, UPDATE or DELETE'
                           WHEN v.base IS NULL THEN 'base_row_version is not a whole number from 0 on'
                           WHEN json_typeof(f.key) IS DISTINCT FROM 'object' THEN 'key is not an object'
                           WHEN o.op = 'D' AND json_typeof(f.payload) <> 'null' THEN 'a DELETE has no payload'
                           WHEN o.op <> 'D' AND json_typeof(f.payload) IS DISTINCT FROM 'object' THEN 'payload is not an object'
                       END AS problem
                  FROM sent AS f
                 CROSS JOIN LATERAL (SELECT CASE upper(btrim(f.op) COLLATE "C") WHEN 'INSERT' THEN 'I' WHEN 'UPDATE' THEN 'U' WHEN 'DELETE' THEN 'D' END::"char") AS o (op)
                 CROSS JOIN LATERAL (SELECT CASE WHEN octet_length(f.base_row_version) BETWEEN 1 AND 18 AND ltrim(f.base_row_version, '0123456789') = '' THEN f.base_row_version::bigint WHEN f.base_row_version IS NULL THEN 0 END OFFSET 0) AS v (base)
                  LEFT JOIN named AS s ON s.schema_name = f.schema_name AND s.table_name = f.table_name
                 CROSS JOIN LATERAL (SELECT ARRAY(SELECT json_object_keys(CASE WHEN json_typeof(f.payload) = 'object' THEN f.payload END)) AS names) AS c) AS p;
    EXCEPTION
        WHEN invalid_parameter_value THEN
            SELECT array_agg(jsonb_build_object('row_ordinal', first_ordinal + e.nth - 1, 'sqlstate', 'TD102', 'detail', 'not an object'))
              INTO v_problems
              FROM json_array_elements(rows) WITH ORDINALITY AS e (element, nth)
             WHERE json_typeof(e.element) <> 'object';
    END;
    IF v_rows IS NULL AND v_problems IS NULL THEN
        RAISE EXCEPTION 'a push has no rows' USING ERRCODE = 'TD102', HINT = 'Send at least one row.';
    END IF;
    IF cardinality(v_rows) > (SELECT s.max_rows_per_push FROM tide.setting AS s) THEN
        RAISE EXCEPTION 'the push is too large'
            USING ERRCODE = 'TD127', DETAIL = format('At most %s rows are allowed.', (SELECT s.max_rows_per_push FROM tide.setting AS s)), HINT = 'Push in several bundles.';
    END IF;
    IF v_problems IS NULL THEN
        -- Keys are typed, so each table has a function of its own for them.
        FOR v_table IN SELECT g.table_id, g.rows FROM tide.push_groups(v_rows, false) AS g LOOP
            BEGIN
                v_keyed := v_keyed || tide.key_pushed(v_table.table_id, v_table.rows);
            EXCEPTION
                WHEN data_exception OR integrity_constraint_violation THEN
                    -- Which rows it is shows one by one.
                    FOREACH v_row IN ARRAY v_table.rows LOOP
                        BEGIN
                            PERFORM tide.key_pushed(v_table.table_id, ARRAY[v_row]);
                        EXCEPTION
                            WHEN data_exception OR integrity_constraint_violation THEN
                                v_problems := v_problems || jsonb_build_object('row_ordinal', v_row.ordinal, 'sqlstate', sqlstate, 'detail', 'key: ' || sqlerrm);
                        END;
                    END LOOP;
            END;
        END LOOP;
        -- By hash first: most of the time all keys are there, and differ.
        IF v_problems IS NOT NULL OR (SELECT count(DISTINCT k.key_hash) < count(*) OR count(k.row_key) < count(*) FROM unnest(v_keyed) AS k) THEN
            SELECT v_problems || array_agg(jsonb_build_object('row_ordinal', r.ordinal, 'sqlstate', 'TD102', 'detail', r.problem) ORDER BY r.ordinal)
              INTO v_problems
              FROM (SELECT k.ordinal, 'a key column is missing, or its value is not in canonical form' AS problem FROM unnest(v_keyed) AS k WHERE k.row_key IS NULL
                     UNION ALL
                    SELECT max(k.ordinal), 'the key was there before' FROM unnest(v_keyed) AS k WHERE k.row_key IS NOT NULL GROUP BY k.table_id, k.row_key COLLATE "C" HAVING count(*) > 1) AS r;
        END IF;
    END IF;
    IF cardinality(v_problems) > 0 THEN
        RAISE EXCEPTION 'rows cannot be read'
            USING ERRCODE = 'TD102',
                  DETAIL  = (SELECT string_agg(format('row %s: %s', p ->> 'row_ordinal', p ->> 'detail'), '; ') FROM unnest(v_problems[:10]) AS p) || CASE WHEN cardinality(v_problems) > 10 THEN format('; and %s more', cardinality(v_problems) - 10) ELSE '' END || '.',
                  HINT    = 'Nothing of them was taken. Mend these rows and send them again.',
                  -- For programs. An error has no other place for data.
                  DATATYPE = array_to_json(v_problems[:1000]);
    END IF;
    RETURN v_keyed;
END;
$$;
COMMENT ON FUNCTION tide.parse_push(json, bigint) IS 'Rows of the wire as tide.pushed_row[]. Raises TD102 naming every row that cannot be read: DATATYPE has the first thousand as JSON. Internal.';
