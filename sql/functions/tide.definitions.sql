-- Every ALTER writes rows of the catalogs anew, and a row that is written anew has another xmin; VACUUM and ANALYZE leave
-- it. Added up, so that nothing need be sorted.
CREATE OR REPLACE FUNCTION tide.definitions()
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    RETURN (
    WITH synced AS MATERIALIZED (
        SELECT s.relation::oid AS oid FROM tide.synced_table AS s WHERE s.unregistered_at IS NULL
         UNION SELECT p::oid FROM tide.synced_table AS s CROSS JOIN unnest(s.partitions) AS p WHERE s.unregistered_at IS NULL
    )
    SELECT concat_ws(' ', tide.version(), (SELECT s.client_role FROM tide.setting AS s), sum(hashtextextended(concat_ws(' ', f.catalog, f.of, f.xmin), 0)))
      FROM (SELECT 'pg_class' AS catalog, c.oid::text AS of, c.xmin::text AS xmin FROM synced AS r JOIN pg_class AS c ON c.oid = r.oid
             UNION ALL SELECT 'pg_attribute', concat_ws(' ', a.attrelid, a.attnum, t.xmin), a.xmin::text FROM synced AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 JOIN pg_type AS t ON t.oid = a.atttypid
             UNION ALL SELECT 'pg_attrdef', d.oid::text, d.xmin::text FROM synced AS r JOIN pg_attrdef AS d ON d.adrelid = r.oid
             UNION ALL SELECT 'pg_index', i.indexrelid::text, i.xmin::text FROM synced AS r JOIN pg_index AS i ON i.indrelid = r.oid
             UNION ALL SELECT 'pg_constraint', c.oid::text, c.xmin::text FROM synced AS r JOIN pg_constraint AS c ON c.conrelid = r.oid
             UNION ALL SELECT 'pg_trigger', t.oid::text, t.xmin::text FROM synced AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid
             UNION ALL SELECT 'pg_policy', p.oid::text, p.xmin::text FROM synced AS r JOIN pg_policy AS p ON p.polrelid = r.oid
             UNION ALL SELECT 'pg_inherits', concat_ws(' ', i.inhparent, i.inhrelid), i.xmin::text FROM synced AS r JOIN pg_inherits AS i ON i.inhparent = r.oid
             UNION ALL SELECT 'pg_namespace', n.oid::text, n.xmin::text FROM pg_namespace AS n
             UNION ALL SELECT 'pg_proc', p.oid::text, p.xmin::text FROM tide.synced_table AS s JOIN pg_proc AS p ON p.oid = tide.bucket_function_of(s.table_id) WHERE s.bucket_function IS NOT NULL
             UNION ALL SELECT 'synced_table', s.table_id::text, s.xmin::text FROM tide.synced_table AS s
             UNION ALL SELECT 'bucket_dependency', d.ctid::text, d.xmin::text FROM tide.bucket_dependency AS d
             UNION ALL SELECT 'access_dependency', d.ctid::text, d.xmin::text FROM tide.access_dependency AS d) AS f);
END;
$$;
COMMENT ON FUNCTION tide.definitions() IS 'Fingerprint of how the synced tables are defined and registered: as long as it is the same, nothing was altered that functions are written for. Internal.';
