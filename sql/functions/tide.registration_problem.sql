CREATE OR REPLACE FUNCTION tide.registration_problem(relation regclass)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
               WHEN c.relnamespace IN ('tide'::regnamespace, 'pg_catalog'::regnamespace, 'information_schema'::regnamespace) THEN 'It belongs to the system.'
               WHEN c.relkind NOT IN ('r', 'p') THEN 'Only ordinary and partitioned tables can be captured.'
               WHEN c.relpersistence = 't' THEN 'It is temporary.'
               WHEN EXISTS (SELECT FROM pg_partition_tree(c.oid) AS p JOIN pg_class AS l ON l.oid = p.relid WHERE l.relpersistence = 'u') OR c.relpersistence = 'u'
                   THEN 'It is unlogged: a crash empties it, and no trigger says so.'
               WHEN EXISTS (SELECT FROM pg_partition_tree(c.oid) AS p JOIN pg_class AS l ON l.oid = p.relid WHERE l.relkind = 'f')
                   THEN 'One of its partitions is a foreign table, which others can write to.'
               WHEN c.relispartition THEN format('It is a partition; register %s instead.', (SELECT p.relid FROM pg_partition_ancestors(c.oid) AS p ORDER BY p.relid = c.oid, p.relid LIMIT 1))
               WHEN EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid AND NOT c.relispartition
                             UNION ALL SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid AND c.relkind = 'r')
                   THEN 'It takes part in inheritance: writes to children are not seen by the parent''s triggers.'
               WHEN EXISTS (SELECT FROM pg_subscription_rel AS s WHERE s.srrelid = c.oid OR s.srrelid IN (SELECT p.relid FROM pg_partition_tree(c.oid) AS p))
                   THEN 'A subscription writes to it, and logical replication fires no statement triggers.'
           END
      FROM pg_class AS c
     WHERE c.oid = relation;
$$;
COMMENT ON FUNCTION tide.registration_problem(regclass) IS 'Why the changes of a table cannot be captured, NULL when they can. Internal.';
