CREATE OR REPLACE FUNCTION tide.store_registration(wanted tide.synced_table, new_grants text[])
    RETURNS tide.synced_table
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.synced_table AS s (
               relation, table_schema, table_name, key_columns, sync_columns, exclude_columns, all_columns,
               owner_column, bucket_prefix, null_owner_bucket, bucket, bucket_function, deleted_at_column, parents, parent_fks, derived, synced, dep_columns,
               on_capture_error, push_policy, server_columns, protected_columns, push_search_path, column_names, column_attnums, partitions, granted)
    VALUES (wanted.relation, wanted.table_schema, wanted.table_name, wanted.key_columns, wanted.sync_columns, wanted.exclude_columns, wanted.all_columns,
            wanted.owner_column, wanted.bucket_prefix, wanted.null_owner_bucket, wanted.bucket, wanted.bucket_function, wanted.deleted_at_column, wanted.parents, wanted.parent_fks, wanted.derived, wanted.synced, wanted.dep_columns,
            wanted.on_capture_error, wanted.push_policy, wanted.server_columns, wanted.protected_columns, wanted.push_search_path, wanted.column_names, wanted.column_attnums, wanted.partitions, new_grants)
        ON CONFLICT (relation) DO UPDATE
       SET (table_schema, table_name, key_columns, sync_columns, exclude_columns, all_columns,
            owner_column, bucket_prefix, null_owner_bucket, bucket, bucket_function, deleted_at_column, parents, parent_fks, derived, synced, dep_columns,
            on_capture_error, push_policy, server_columns, protected_columns, push_search_path, column_names, column_attnums, partitions, granted, unregistered_at)
         = (excluded.table_schema, excluded.table_name, excluded.key_columns, excluded.sync_columns, excluded.exclude_columns, excluded.all_columns,
            excluded.owner_column, excluded.bucket_prefix, excluded.null_owner_bucket, excluded.bucket, excluded.bucket_function, excluded.deleted_at_column, excluded.parents, excluded.parent_fks, excluded.derived, excluded.synced, excluded.dep_columns,
            excluded.on_capture_error, excluded.push_policy, excluded.server_columns, excluded.protected_columns, excluded.push_search_path, excluded.column_names, excluded.column_attnums, excluded.partitions, s.granted || excluded.granted, NULL)
    RETURNING s.* INTO wanted;
    RETURN wanted;
END;
$$;
COMMENT ON FUNCTION tide.store_registration(tide.synced_table, text[]) IS 'Writes a registration. Internal.';
