CREATE OR REPLACE FUNCTION tide.resolve_columns(wanted tide.synced_table)
    RETURNS tide.synced_table
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_all     text[];
    v_virtual text[];
    v_unknown text;
BEGIN
    SELECT array_agg(a.attname::text ORDER BY a.attnum), array_agg(a.attname::text) FILTER (WHERE a.attgenerated = 'v')
      INTO v_all, v_virtual
      FROM pg_attribute AS a
     WHERE a.attrelid = wanted.relation AND a.attnum > 0 AND NOT a.attisdropped;

    SELECT string_agg(format('%I', n), ', ')
      INTO v_unknown
      FROM unnest(wanted.key_columns || wanted.sync_columns || wanted.exclude_columns || wanted.server_columns || wanted.protected_columns || wanted.owner_column || wanted.deleted_at_column
                  || string_to_array(array_to_string(wanted.parent_fks, ','), ',')) AS n
     WHERE n <> ALL (v_all);
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION 'table % has no such column', wanted.relation
            USING ERRCODE = 'TD003', DETAIL = format('Unknown: %s.', v_unknown), HINT = format('Its columns are: %s.', array_to_string(v_all, ', '));
    END IF;

    IF wanted.key_columns IS NULL THEN
        wanted.key_columns := ARRAY(
            SELECT a.attname
              FROM pg_index AS i
             CROSS JOIN LATERAL unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, ordinal)
              JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE i.indrelid = wanted.relation AND i.indisprimary
             ORDER BY k.ordinal);
    END IF;
    IF cardinality(wanted.key_columns) = 0 OR tide.key_index(wanted.relation, wanted.key_columns) IS NULL THEN
        RAISE EXCEPTION 'table % has no key that devices could know its rows by', wanted.relation
            USING ERRCODE = 'TD002',
                  DETAIL  = CASE WHEN cardinality(wanted.key_columns) = 0 THEN 'It has no primary key.'
                                 ELSE format('No unique index that is neither deferrable nor partial covers exactly (%s), all NOT NULL.', array_to_string(wanted.key_columns, ', ')) END,
                  HINT    = 'Add a primary key, or name columns with such an index in key_columns.';
    END IF;

    IF NOT wanted.synced THEN
        wanted.sync_columns := wanted.key_columns;
    END IF;
    IF wanted.all_columns THEN
        wanted.sync_columns := ARRAY(SELECT n FROM unnest(v_all) WITH ORDINALITY AS c (n, i) WHERE n <> ALL (wanted.exclude_columns) ORDER BY i);
    END IF;
    IF NOT wanted.sync_columns @> wanted.key_columns OR wanted.sync_columns && wanted.exclude_columns THEN
        RAISE EXCEPTION 'columns of table % cannot be chosen so', wanted.relation
            USING ERRCODE = 'TD003',
                  DETAIL  = 'Key columns must be among the synced ones, and excluded ones must not.',
                  HINT    = format('The key is (%s).', array_to_string(wanted.key_columns, ', '));
    END IF;
    IF wanted.sync_columns && v_virtual THEN
        RAISE EXCEPTION 'table % has virtual generated columns, which triggers do not see', wanted.relation
            USING ERRCODE = 'TD003',
                  DETAIL  = format('Virtual: %s.', array_to_string(v_virtual, ', ')),
                  HINT    = 'Name them in exclude_columns, or make them STORED.';
    END IF;

    -- What rules of this table and of others hang on.
    wanted.dep_columns := ARRAY(
        SELECT f FROM string_to_table(array_to_string(wanted.parent_fks, ','), ',') AS f
         UNION
        SELECT o FROM unnest(ARRAY[wanted.owner_column, wanted.deleted_at_column]) AS o WHERE wanted.derived AND o IS NOT NULL
         UNION
        SELECT d.name
          FROM tide.synced_table AS s
         CROSS JOIN LATERAL (SELECT unnest(b.source_columns) FROM tide.bucket_dependency AS b WHERE b.source_id = s.table_id
                              UNION SELECT unnest(a.source_columns) FROM tide.access_dependency AS a WHERE a.source_id = s.table_id) AS d (name)
         WHERE s.relation = wanted.relation
         ORDER BY 1);
    SELECT array_agg(a.attname ORDER BY a.attnum), array_agg(a.attnum ORDER BY a.attnum)
      INTO wanted.column_names, wanted.column_attnums
      FROM pg_attribute AS a
     WHERE a.attrelid = wanted.relation AND a.attnum > 0 AND NOT a.attisdropped
       AND a.attname = ANY (wanted.sync_columns || wanted.owner_column || wanted.deleted_at_column || wanted.dep_columns);
    RETURN wanted;
END;
$$;
COMMENT ON FUNCTION tide.resolve_columns(tide.synced_table) IS 'Fills in the key and the columns of a registration from the table as it is. Raises TD002, TD003. Internal.';
