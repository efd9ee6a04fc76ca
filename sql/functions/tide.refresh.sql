CREATE OR REPLACE FUNCTION tide.refresh(table_name regclass, missed_changes boolean DEFAULT false)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table  tide.synced_table := tide.registered_table(table_name);
    v_wanted tide.synced_table := v_table;
BEGIN
    -- Devices know the table and its columns by the names of now.
    SELECT n.nspname, c.relname
      INTO v_wanted.table_schema, v_wanted.table_name
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = table_name::oid;
    v_wanted.key_columns := tide.current_names(v_table.table_id, v_table.key_columns);
    v_wanted.sync_columns := tide.current_names(v_table.table_id, v_table.sync_columns);
    v_wanted.exclude_columns := ARRAY(
        SELECT e FROM unnest(v_table.exclude_columns) AS e
         WHERE e IN (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = table_name AND NOT a.attisdropped));
    v_wanted.server_columns := tide.current_names(v_table.table_id, v_table.server_columns);
    v_wanted.protected_columns := tide.current_names(v_table.table_id, v_table.protected_columns);
    v_wanted.owner_column := (tide.current_names(v_table.table_id, ARRAY[v_table.owner_column]))[1];
    v_wanted.deleted_at_column := (tide.current_names(v_table.table_id, ARRAY[v_table.deleted_at_column]))[1];
    IF v_table.bucket_function IS NOT NULL THEN
        -- Where it is gone, looking for it as it was registered says so.
        v_wanted.bucket_function := coalesce(tide.bucket_function_of(v_table.table_id)::regprocedure::text, tide.resolve_bucket_function(table_name, v_table.bucket_function));
    END IF;
    v_wanted.parent_fks := ARRAY(SELECT array_to_string(tide.current_names(v_table.table_id, string_to_array(f, ',')), ',') FROM unnest(v_table.parent_fks) WITH ORDINALITY AS t (f, n) ORDER BY n);
    IF num_nonnulls(v_wanted.owner_column, v_wanted.deleted_at_column) < num_nonnulls(v_table.owner_column, v_table.deleted_at_column)
       OR cardinality(v_wanted.key_columns) < cardinality(v_table.key_columns)
       OR cardinality(tide.current_names(v_table.table_id, v_table.dep_columns)) < cardinality(v_table.dep_columns) THEN
        PERFORM tide.row_expressions(v_table.table_id, 'tide_n');
    END IF;
    UPDATE tide.bucket_dependency AS d SET source_columns = tide.current_names(d.source_id, d.source_columns) WHERE d.source_id = v_table.table_id;
    UPDATE tide.bucket_dependency AS d SET table_columns = tide.current_names(d.table_id, d.table_columns) WHERE d.table_id = v_table.table_id AND d.table_columns IS NOT NULL;
    UPDATE tide.access_dependency AS a SET source_columns = tide.current_names(a.source_id, a.source_columns) WHERE a.source_id = v_table.table_id;
    RETURN QUERY SELECT tide.apply_registration(v_wanted, missed_changes, false);
    IF NOT EXISTS (SELECT FROM tide.change_log AS c WHERE c.xid = pg_current_xact_id() AND c.table_id = v_table.table_id AND c.op IN ('A', '!')) THEN
        PERFORM tide.mark_table(v_table.table_id, 'A', 'refreshed');
        RETURN NEXT 'the next seal reads the table (refreshed)';
    END IF;
    -- What could not be judged because of this table.
    PERFORM tide.mark_table(f.table_id, 'A', format('%s was refreshed', table_name))
       FROM tide.bucket_failure AS f JOIN tide.bucket_source AS b ON b.table_id = f.table_id AND b.source_id = v_table.table_id
      WHERE f.table_id <> v_table.table_id GROUP BY f.table_id;
END;
$$;
COMMENT ON FUNCTION tide.refresh(regclass, boolean) IS
'Brings capture in step with a table that was altered, takes in its new columns and partitions, mends its triggers, and has the next seal send the table anew. missed_changes => true also makes devices drop rows whose deletion capture did not see. Raises TD001 to TD009, TD011, TD012.';
