-- Written once here, used by capture, adoption and every other reader of images, so that all of them
-- give the same text for the same row.
CREATE OR REPLACE FUNCTION tide.row_expressions(
    table_id integer, row_alias text,
    OUT row_key text, OUT payload text, OUT buckets text, OUT image text, OUT key_image text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table;
    v_missing text;
    v_whole   boolean;
    v_owner   record;
    v_deleted record;
BEGIN
    SELECT * INTO STRICT v_table FROM tide.synced_table AS s WHERE s.table_id = row_expressions.table_id;

    SELECT string_agg(format('%I', n), ', ')
      INTO v_missing
      FROM unnest(v_table.key_columns || v_table.owner_column || v_table.deleted_at_column) AS n
     WHERE n NOT IN (SELECT c.column_name FROM tide.synced_columns(v_table.table_id) AS c);
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
      FROM tide.synced_columns(v_table.table_id) AS c
     WHERE c.in_key;

    SELECT format('ROW(%s)::record', string_agg(format('%s.%I', row_alias, c.current_name), ', '))
      INTO key_image
      FROM tide.synced_columns(v_table.table_id) AS c
     WHERE c.in_key;

    -- The whole row, where that is the same: building it from single columns takes longer. A
    -- partition may have its columns in another order.
    SELECT NOT EXISTS (
               SELECT FROM pg_attribute AS a
                 LEFT JOIN tide.synced_columns(v_table.table_id) AS c
                   ON c.current_name = a.attname AND c.column_name = a.attname AND c.in_payload
                      AND c.base_type <> ALL ('{bytea,money}'::regtype[])
                WHERE a.attrelid = v_table.relation AND a.attnum > 0 AND NOT a.attisdropped AND c.column_name IS NULL)
           AND NOT EXISTS (
               SELECT FROM pg_partition_tree(v_table.relation) AS p
                WHERE p.isleaf
                  AND (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = p.relid AND a.attnum > 0 AND NOT a.attisdropped)
                   <> (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = v_table.relation AND a.attnum > 0 AND NOT a.attisdropped))
      INTO v_whole;
    IF v_whole THEN
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
          FROM tide.synced_columns(v_table.table_id) AS c
         WHERE c.in_payload;
    END IF;

    IF v_table.bucket IS NOT NULL THEN
        buckets := format('%L::text[]', ARRAY[v_table.bucket]);
    ELSIF v_table.bucket_function IS NOT NULL THEN
        buckets := format(
            CASE WHEN (SELECT p.prorettype = 'text[]'::regtype FROM pg_proc AS p WHERE p.oid = v_table.bucket_function::regprocedure)
                 THEN 'tide.function_buckets(%s(%s))' ELSE 'tide.function_buckets(ARRAY[%s(%s)])' END,
            (SELECT format('%I.%I', n.nspname, p.proname) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = v_table.bucket_function::regprocedure),
            row_alias);
    ELSE
        SELECT * INTO STRICT v_owner FROM tide.synced_columns(v_table.table_id) AS c WHERE c.column_name = v_table.owner_column;
        buckets := format(
            CASE WHEN v_owner.base_type = ANY ('{int2,int4,int8,oid,uuid}'::regtype[])
                 THEN 'CASE WHEN %1$s.%2$I IS NULL THEN %3$L::text[] ELSE ARRAY[%4$L || %1$s.%2$I::text] END'
                 ELSE 'CASE WHEN %1$s.%2$I IS NULL THEN %3$L::text[] ELSE tide.owner_bucket(%4$L, %1$s.%2$I::text) END' END,
            row_alias, v_owner.current_name,
            array_remove(ARRAY[v_table.null_owner_bucket], NULL), v_table.bucket_prefix);
    END IF;

    IF v_table.deleted_at_column IS NOT NULL THEN
        SELECT * INTO STRICT v_deleted FROM tide.synced_columns(v_table.table_id) AS c WHERE c.column_name = v_table.deleted_at_column;
        buckets := format('CASE WHEN %s.%I %s THEN ''{}''::text[] ELSE %s END', row_alias, v_deleted.current_name,
            CASE WHEN v_deleted.base_type = 'bool'::regtype THEN 'IS TRUE' ELSE 'IS NOT NULL' END, buckets);
    END IF;

    -- A bucket function may look at any column.
    SELECT CASE WHEN bool_and(a.used) THEN row_alias
                ELSE format('ROW(%s)::record', string_agg(format('%s.%I', row_alias, a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.used)) END
      INTO image
      FROM (SELECT a.attname, a.attnum,
                   v_table.bucket_function IS NOT NULL
                   OR a.attname IN (SELECT c.current_name FROM tide.synced_columns(v_table.table_id) AS c) AS used
              FROM pg_attribute AS a
             WHERE a.attrelid = v_table.relation AND a.attnum > 0 AND NOT a.attisdropped) AS a;
END;
$$;
COMMENT ON FUNCTION tide.row_expressions(integer, text) IS 'SQL expressions over one row of a synced table: its key and payload as devices get them, its buckets, what must differ for a change to count, and the key as a record. Raises TD012. Internal.';
