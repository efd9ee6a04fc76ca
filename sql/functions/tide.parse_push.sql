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
    v_keyed    tide.pushed_row[];
    v_tables   integer[];
    v_table    integer;
    v_row      tide.pushed_row;
    v_problems jsonb[]; -- of objects with row_ordinal, sqlstate, detail
BEGIN
    IF json_typeof(rows) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'rows of a push are not an array' USING ERRCODE = 'TD102', HINT = 'Send "rows": [{"schema", "table", "key", "op", "base_row_version", "payload"}, ...].';
    END IF;
    BEGIN
        -- The text is read once here, and each payload once for the names of its columns.
        SELECT array_agg(ROW(first_ordinal + p.nth - 1, p.table_id, p.op, p.base, NULL, NULL, p.key, p.payload, p.columns, NULL, NULL)::tide.pushed_row), array_agg(DISTINCT p.table_id),
               array_agg(jsonb_build_object('row_ordinal', first_ordinal + p.nth - 1, 'sqlstate', 'TD102', 'detail', p.problem) ORDER BY p.nth) FILTER (WHERE p.problem IS NOT NULL)
          INTO v_rows, v_tables, v_problems
          FROM (SELECT f.nth, s.table_id, f.op, f.base, f.key, f.payload, ARRAY(SELECT json_object_keys(CASE WHEN json_typeof(f.payload) = 'object' THEN f.payload END)) AS columns,
                       CASE
                           WHEN f.table_name IS NULL THEN 'no table is named'
                           WHEN s.table_id IS NULL THEN format('table %s.%s is not registered', f.schema_name, f.table_name)
                           WHEN s.push_policy = 'disabled' THEN format('table %s.%s does not take pushes', f.schema_name, f.table_name)
                           WHEN f.op IS NULL THEN 'op is not INSERT, UPDATE or DELETE'
                           WHEN f.base IS NULL THEN 'base_row_version is not a whole number from 0 on'
                           WHEN json_typeof(f.key) IS DISTINCT FROM 'object' THEN 'key is not an object'
                           WHEN f.op = 'D' AND json_typeof(f.payload) <> 'null' THEN 'a DELETE has no payload'
                           WHEN f.op <> 'D' AND json_typeof(f.payload) IS DISTINCT FROM 'object' THEN 'payload is not an object'
                       END AS problem
                  FROM (SELECT j.nth, j.key, j.payload, coalesce(nullif(btrim(j.schema), ''), 'public') AS schema_name, btrim(j."table") AS table_name,
                               CASE upper(btrim(j.op) COLLATE "C") WHEN 'INSERT' THEN 'I' WHEN 'UPDATE' THEN 'U' WHEN 'DELETE' THEN 'D' END::"char" AS op,
                               CASE WHEN j.base_row_version IS NULL THEN 0
                                    WHEN octet_length(j.base_row_version) BETWEEN 1 AND 18 AND ltrim(j.base_row_version, '0123456789') = '' THEN j.base_row_version::bigint END AS base
                          FROM ROWS FROM (json_to_recordset(rows) AS (schema text, "table" text, key json, op text, base_row_version text, payload json))
                               WITH ORDINALITY AS j (schema, "table", key, op, base_row_version, payload, nth) OFFSET 0) AS f -- once, not wherever it is named
                  -- As it is written, or else in lower case.
                  LEFT JOIN tide.synced_table AS s
                    ON s.unregistered_at IS NULL AND s.synced AND lower(s.table_schema) = lower(f.schema_name) AND lower(s.table_name) = lower(f.table_name)
                   AND ((s.table_schema, s.table_name) = (f.schema_name, f.table_name)
                        OR (s.table_schema, s.table_name) = (lower(f.schema_name), lower(f.table_name))
                           AND NOT EXISTS (SELECT FROM tide.synced_table AS e
                                            WHERE e.unregistered_at IS NULL AND e.synced AND (e.table_schema, e.table_name) = (f.schema_name, f.table_name)))) AS p;
        IF v_problems IS NULL AND v_rows IS NOT NULL THEN
            -- Keys are typed, so each table has a function of its own for them.
            FOREACH v_table IN ARRAY v_tables LOOP
                v_keyed := v_keyed || tide.key_pushed(v_table, v_rows);
            END LOOP;
        END IF;
    EXCEPTION
        WHEN data_exception OR integrity_constraint_violation THEN
            IF v_rows IS NULL AND sqlstate <> '22023' THEN
                RAISE;
            ELSIF v_rows IS NULL THEN
                SELECT array_agg(jsonb_build_object('row_ordinal', first_ordinal + e.nth - 1, 'sqlstate', 'TD102', 'detail', 'not an object'))
                  INTO v_problems
                  FROM json_array_elements(rows) WITH ORDINALITY AS e (element, nth)
                 WHERE json_typeof(e.element) <> 'object';
            ELSE
                -- Which rows it is shows one by one.
                v_keyed := '{}';
                FOREACH v_row IN ARRAY v_rows LOOP
                    BEGIN
                        v_keyed := array_append(v_keyed, (tide.key_pushed(v_row.table_id, ARRAY[v_row]))[1]);
                    EXCEPTION
                        WHEN data_exception OR integrity_constraint_violation THEN
                            v_problems := v_problems || jsonb_build_object('row_ordinal', v_row.ordinal, 'sqlstate', sqlstate, 'detail', 'key: ' || sqlerrm);
                    END;
                END LOOP;
            END IF;
    END;
    -- Most pushes are of one row, and nothing is wrong with it.
    IF cardinality(v_rows) = 1 AND v_problems IS NULL AND (v_keyed[1]).row_key IS NOT NULL THEN
        RETURN v_keyed;
    END IF;
    IF v_rows IS NULL AND v_problems IS NULL THEN
        RAISE EXCEPTION 'a push has no rows' USING ERRCODE = 'TD102', HINT = 'Send at least one row.';
    END IF;
    IF cardinality(v_rows) > (SELECT s.max_rows_per_push FROM tide.setting AS s) THEN
        RAISE EXCEPTION 'the push is too large'
            USING ERRCODE = 'TD127', DETAIL = format('At most %s rows are allowed.', (SELECT s.max_rows_per_push FROM tide.setting AS s)), HINT = 'Push in several bundles.';
    END IF;
    -- By hash first: most of the time all keys are there, and differ.
    IF v_keyed IS NOT NULL AND (v_problems IS NOT NULL OR (SELECT count(DISTINCT k.key_hash) < count(*) OR count(k.row_key) < count(*) FROM unnest(v_keyed) AS k)) THEN
        SELECT v_problems || array_agg(jsonb_build_object('row_ordinal', r.ordinal, 'sqlstate', 'TD102', 'detail', r.problem) ORDER BY r.ordinal)
          INTO v_problems
          FROM (SELECT k.ordinal, 'a key column is missing, or its value is not in canonical form' AS problem FROM unnest(v_keyed) AS k WHERE k.row_key IS NULL
                 UNION ALL
                SELECT max(k.ordinal), 'the key was there before' FROM unnest(v_keyed) AS k WHERE k.row_key IS NOT NULL GROUP BY k.table_id, k.row_key COLLATE "C" HAVING count(*) > 1) AS r;
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
