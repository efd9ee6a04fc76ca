CREATE OR REPLACE FUNCTION tide.describe_rule(synced_table tide.synced_table)
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(', ',
               CASE
                   WHEN synced_table.bucket IS NOT NULL THEN format('bucket %s', synced_table.bucket)
                   WHEN synced_table.bucket_function IS NOT NULL THEN format('buckets by %s', synced_table.bucket_function)
                   ELSE format('bucket %s<%s>', synced_table.bucket_prefix, synced_table.owner_column)
               END,
               synced_table.null_owner_bucket || ' where there is no owner',
               CASE WHEN synced_table.deleted_at_column IS NOT NULL THEN format('deleted when %s is set', synced_table.deleted_at_column) END);
$$;
COMMENT ON FUNCTION tide.describe_rule(tide.synced_table) IS 'The bucket rule of a table, for people. Internal.';
