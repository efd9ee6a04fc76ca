CREATE OR REPLACE FUNCTION tide.describe_rule(synced_table tide.synced_table)
    RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(', ',
               CASE
                   WHEN synced_table.bucket IS NOT NULL THEN format('bucket %s', synced_table.bucket)
                   WHEN synced_table.bucket_function IS NOT NULL THEN format('buckets by %s', synced_table.bucket_function)
                   WHEN synced_table.owner_column IS NOT NULL THEN format('bucket %s<%s>', synced_table.bucket_prefix, synced_table.owner_column)
                   WHEN NOT synced_table.synced THEN 'captured for the rules of other tables'
               END,
               (SELECT format('buckets of its %s', string_agg(format('%s (%s)', r.relation, r.fk), ', ' ORDER BY r.ordinal))
                  FROM unnest(synced_table.parents, synced_table.parent_fks) WITH ORDINALITY AS r (relation, fk, ordinal) HAVING count(*) > 0),
               synced_table.null_owner_bucket || ' where there is no owner',
               CASE WHEN synced_table.deleted_at_column IS NOT NULL THEN format('deleted when %s is set', synced_table.deleted_at_column) END);
$$;
COMMENT ON FUNCTION tide.describe_rule(tide.synced_table) IS 'The bucket rule of a table, for people. Internal.';
