-- Written once here, used by capture, adoption and every other reader of images, so that all of them
-- give the same text for the same row.
CREATE OR REPLACE FUNCTION tide.row_expressions(
    table_id integer, row_alias text,
    OUT row_key text, OUT payload text, OUT buckets text, OUT captured_buckets text, OUT deps text,
    OUT image text, OUT key_image text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table;
    v_columns tide.synced_column[] := ARRAY(SELECT c FROM tide.synced_columns(table_id) AS c);
    v_missing text;
    v_whole   boolean;
BEGIN
    SELECT * INTO STRICT v_table FROM tide.synced_table AS s WHERE s.table_id = row_expressions.table_id;

    SELECT string_agg(format('%I', n), ', ')
      INTO v_missing
      FROM unnest(v_table.key_columns || v_table.owner_column || v_table.deleted_at_column || v_table.dep_columns) AS n
     WHERE n NOT IN (SELECT c.column_name FROM unnest(v_columns) AS c);
    IF v_missing IS NOT NULL THEN
        RAISE EXCEPTION 'table %.% has lost a column that its registration needs', v_table.table_schema, v_table.table_name
            USING ERRCODE = 'TD012',
                  DETAIL  = format('Missing: %s.', v_missing),
                  HINT    = format('Register it anew with tide.register_table(%L, ...), or take it out with tide.unregister_table(%1$L).', v_table.relation);
    END IF;

    -- JSON gives dates and times a form that no session setting changes, and addresses the one of the payload.
    SELECT '''{' || string_agg(
               format('%s:', replace(to_json(c.column_name)::text, '''', ''''''))
               || CASE
                      WHEN c.base_type = 'bytea'::regtype AND NOT c.is_array
                          THEN format('"'' || translate(encode(%s.%I, ''base64''), chr(10), '''') || ''"', row_alias, c.current_name)
                      WHEN c.base_type = ANY ('{int2,int4,int8,oid,uuid,bool,numeric}'::regtype[]) AND NOT c.is_array
                          THEN format('"'' || %s.%I::text || ''"', row_alias, c.current_name)
                      WHEN c.base_type = ANY ('{date,timestamp,timestamptz,inet,cidr}'::regtype[]) AND NOT c.is_array
                          THEN format(''' || to_json(%s.%I)::text || ''', row_alias, c.current_name)
                      ELSE format(''' || to_json(%s.%I::text)::text || ''', row_alias, c.current_name)
                  END, ',' ORDER BY array_position(v_table.key_columns, c.column_name)) || '}'''
      INTO row_key
      FROM unnest(v_columns) AS c
     WHERE c.in_key;

    SELECT format('ROW(%s)::record', string_agg(format('%s.%I', row_alias, c.current_name), ', '))
      INTO key_image
      FROM unnest(v_columns) AS c
     WHERE c.in_key;

    -- The whole row, where that is the same: building it from single columns takes longer. A
    -- partition may have its columns in another order.
    SELECT NOT EXISTS (
               SELECT FROM pg_attribute AS a
                 LEFT JOIN unnest(v_columns) AS c
                   ON c.current_name = a.attname AND c.column_name = a.attname AND c.in_payload
                      AND c.base_type <> ALL ('{bytea,money}'::regtype[])
                WHERE a.attrelid = v_table.relation AND a.attnum > 0 AND NOT a.attisdropped AND c.column_name IS NULL)
           AND NOT EXISTS (
               SELECT FROM pg_partition_tree(v_table.relation) AS p
                WHERE p.isleaf
                  AND (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = p.relid AND a.attnum > 0 AND NOT a.attisdropped)
                   <> (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = v_table.relation AND a.attnum > 0 AND NOT a.attisdropped))
      INTO v_whole;
    IF NOT v_table.synced THEN
        payload := 'NULL::json';
    ELSIF v_whole THEN
        payload := format('row_to_json(%s)', row_alias);
    ELSE
        SELECT format('(SELECT row_to_json(tide_p) FROM (SELECT %s) AS tide_p)', string_agg(
                   CASE
                       WHEN c.base_type = 'bytea'::regtype AND c.is_array
                           THEN format('tide.bytea_array_json(%s.%I)', row_alias, c.current_name)
                       WHEN c.base_type = 'bytea'::regtype
                           THEN format('translate(encode(%s.%I, ''base64''), chr(10), '''')', row_alias, c.current_name)
                       WHEN c.base_type = 'money'::regtype AND NOT c.is_array
                           THEN format('%s.%I::numeric', row_alias, c.current_name)
                       ELSE format('%s.%I', row_alias, c.current_name)
                   END || format(' AS %I', c.column_name), ', '))
          INTO payload
          FROM unnest(v_columns) AS c
         WHERE c.in_payload;
    END IF;
    -- A value of type json keeps the line feeds of its text, and so may a type with a cast to json of its
    -- own; but a row is one line. Outside of strings they are white space, and within them never.
    IF v_table.synced AND EXISTS (
           SELECT FROM unnest(v_columns) AS c
             JOIN pg_type AS t ON t.oid = c.base_type
            WHERE c.in_payload
              AND (c.base_type = 'json'::regtype OR t.typtype = 'c' OR t.typtype <> 'e' AND t.typnamespace <> 'pg_catalog'::regnamespace))
    THEN
        payload := format('translate(%s::text, chr(10) || chr(13), ''  '')::json', payload);
    END IF;

    -- Rules that look at other tables are judged at sealing: capture notes what they hang on, and need
    -- not wait for their long expressions to be written.
    IF NOT v_table.derived THEN
        buckets := tide.bucket_expression(v_table.table_id, row_alias);
    END IF;
    captured_buckets := CASE WHEN v_table.derived OR NOT v_table.synced THEN 'NULL::text[]' ELSE buckets END;
    SELECT 'json_build_object(' || string_agg(format('%L, %s.%I::text', c.column_name, row_alias, c.current_name), ', ') || ')'
      INTO deps
      FROM unnest(v_columns) AS c
     WHERE c.column_name = ANY (v_table.dep_columns);

    -- A function that says buckets, or who reads them, may look at any column.
    SELECT CASE WHEN bool_and(a.used) THEN row_alias
                ELSE format('ROW(%s)::record', string_agg(format('%s.%I', row_alias, a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.used)) END
      INTO image
      FROM (SELECT a.attname, a.attnum,
                   v_table.bucket_function IS NOT NULL
                   OR EXISTS (SELECT FROM tide.bucket_dependency AS d WHERE d.source_id = v_table.table_id)
                   OR EXISTS (SELECT FROM tide.access_dependency AS d WHERE d.source_id = v_table.table_id)
                   OR a.attname IN (SELECT c.current_name FROM unnest(v_columns) AS c) AS used
              FROM pg_attribute AS a
             WHERE a.attrelid = v_table.relation AND a.attnum > 0 AND NOT a.attisdropped) AS a;
END;
$$;
COMMENT ON FUNCTION tide.row_expressions(integer, text) IS 'SQL expressions over one row of a synced table: its key and payload as devices get them, its buckets as they are (NULL where rules look at other tables) and as capture notes them, what rules of other tables need of it (deps, NULL for nothing), what must differ for a change to count, and the key as a record. Raises TD012. Internal.';
