CREATE OR REPLACE FUNCTION tide.bucket_patterns(synced_table tide.synced_table)
    RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
               -- What rows of a derived table lay in is known exactly: tide.membership.
               WHEN synced_table.derived OR NOT synced_table.synced THEN '{}'
               WHEN synced_table.bucket IS NOT NULL THEN ARRAY['=' || synced_table.bucket]
               WHEN synced_table.bucket_function IS NOT NULL THEN ARRAY['^']
               ELSE array_remove(ARRAY['^' || synced_table.bucket_prefix, '=' || synced_table.null_owner_bucket], NULL)
           END;
$$;
COMMENT ON FUNCTION tide.bucket_patterns(tide.synced_table) IS 'Buckets that rows of the table can lie in: =name, or ^prefix. Internal.';
