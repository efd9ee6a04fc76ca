-- All that tide.make_reading looks at. What is the same by this is read by the same text.
CREATE OR REPLACE FUNCTION tide.reading_shape(table_id integer)
    RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
BEGIN
    RETURN (
    SELECT md5(concat_ws('; ', s.relation,
               ROW(s.key_columns, s.sync_columns, s.column_names, s.column_attnums, s.owner_column, s.bucket_prefix, s.null_owner_bucket, s.bucket,
                   s.bucket_function, s.deleted_at_column, s.dep_columns, s.derived, s.synced),
               (SELECT string_agg(concat_ws(' ', a.attnum, quote_ident(a.attname), a.atttypid, format_type(a.atttypid, a.atttypmod), a.attcollation, a.attnotnull), ',' ORDER BY a.attnum)
                  FROM pg_attribute AS a WHERE a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped),
               (SELECT string_agg(concat_ws(' ', i.indkey, i.indnkeyatts, i.indclass, i.indimmediate, i.indisvalid, i.indpred IS NULL, i.indexprs IS NULL), ',' ORDER BY i.indisprimary DESC, i.indexrelid)
                  FROM pg_index AS i WHERE i.indrelid = s.relation AND i.indisunique),
               (SELECT concat_ws(' ', p.pronamespace::regnamespace, p.proname, p.prorettype) FROM pg_proc AS p WHERE s.bucket_function IS NOT NULL AND p.oid = tide.bucket_function_of(s.table_id)),
               CASE WHEN cardinality(s.partitions) > 0 THEN (
                   SELECT string_agg(concat_ws(' ', p.relid::oid, a.attnum, quote_ident(a.attname)), ',' ORDER BY p.relid, a.attnum)
                     FROM pg_partition_tree(s.relation) AS p JOIN pg_attribute AS a ON a.attrelid = p.relid AND a.attnum > 0 AND NOT a.attisdropped
                    WHERE p.isleaf) END))
      FROM tide.synced_table AS s
     WHERE s.table_id = reading_shape.table_id);
END;
$$;
COMMENT ON FUNCTION tide.reading_shape(integer) IS 'Fingerprint of everything in the definition and the registration of a table that the text to read it is made from. Internal.';
