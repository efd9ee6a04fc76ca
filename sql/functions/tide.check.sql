CREATE OR REPLACE FUNCTION tide.check()
    RETURNS TABLE (severity text, table_name text, finding text, detail text, remedy text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH synced AS (
        SELECT s.*, c.oid AS existing, c.relname AS name_now, n.nspname AS schema_now, s.relation::text AS named,
               s.bucket_function IS NOT NULL AND tide.bucket_function_of(s.table_id) IS NULL AS function_gone,
               format('SELECT tide.refresh(%L)', s.relation) AS refresh,
               format('SELECT tide.refresh(%L, missed_changes => true)', s.relation) AS reread
          FROM tide.synced_table AS s
          LEFT JOIN pg_class AS c ON c.oid = s.relation
          LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE s.unregistered_at IS NULL
    ), alive AS (
        SELECT * FROM synced WHERE existing IS NOT NULL
    )
    SELECT 'warning', format('%I.%I', s.table_schema, s.table_name), 'the table was dropped',
           'Devices keep its rows.', format('UPDATE tide.synced_table SET unregistered_at = now() WHERE table_id = %s', s.table_id)
      FROM synced AS s WHERE s.existing IS NULL
     UNION ALL
    SELECT 'error', s.named, 'changes cannot be captured', tide.registration_problem(s.relation), 'Mend what is said, then: ' || s.reread
      FROM alive AS s WHERE tide.registration_problem(s.relation) IS NOT NULL
     UNION ALL
    SELECT CASE WHEN f.problem = 'superfluous' THEN 'notice' ELSE 'error' END, s.named,
           format('capture triggers are %s on %s: %s', f.problem, f.relation, string_agg(f.trigger_name, ', ' ORDER BY f.trigger_name)),
           CASE WHEN f.problem = 'superfluous' THEN 'They only cost time.' ELSE 'Changes may have been missed: devices must fetch the table anew.' END,
           CASE WHEN f.problem = 'superfluous' THEN s.refresh ELSE s.reread END
      FROM alive AS s CROSS JOIN LATERAL tide.trigger_findings(s.table_id) AS f
     GROUP BY s.named, s.refresh, s.reread, f.problem, f.relation
     UNION ALL
    SELECT 'error', s.named, 'partitions were detached', format('No longer part of it: %s. Devices keep their rows.', array_to_string(g.gone, ', ')), s.reread
      FROM alive AS s
     CROSS JOIN LATERAL (SELECT ARRAY(SELECT p::text FROM unnest(s.partitions) AS p EXCEPT SELECT t.relid::text FROM pg_partition_tree(s.relation) AS t)) AS g (gone)
     WHERE cardinality(g.gone) > 0
     UNION ALL
    SELECT 'error', s.named, 'a column capture needs was dropped', format('Missing: %s.', array_to_string(g.gone, ', ')),
           format('SELECT tide.register_table(%L, ...) with another rule or key', s.relation)
      FROM alive AS s
     CROSS JOIN LATERAL (SELECT ARRAY(SELECT n FROM unnest(s.key_columns || s.owner_column || s.deleted_at_column || s.dep_columns) AS n WHERE n IS NOT NULL
                                      EXCEPT SELECT c.column_name FROM tide.synced_columns(s.table_id) AS c)) AS g (gone)
     WHERE cardinality(g.gone) > 0
     UNION ALL
    SELECT 'error', s.named, 'the bucket function is gone', format('It was %s. Rows cannot be given to buckets.', s.bucket_function), 'Create it again, or register the table with another one.'
      FROM alive AS s WHERE s.function_gone
     UNION ALL
    SELECT 'warning', s.named, 'the table is not as it was registered',
           concat_ws(' ',
               'Renamed to ' || CASE WHEN (s.schema_now, s.name_now) IS DISTINCT FROM (s.table_schema, s.table_name) THEN format('%I.%I, devices know it as %I.%I.', s.schema_now, s.name_now, s.table_schema, s.table_name) END,
               (SELECT format('Dropped: %s.', string_agg(n, ', ')) FROM unnest(s.sync_columns) AS n WHERE n NOT IN (SELECT c.column_name FROM tide.synced_columns(s.table_id) AS c) HAVING count(*) > 0),
               (SELECT format('Renamed: %s.', string_agg(c.column_name || ' to ' || c.current_name, ', ')) FROM tide.synced_columns(s.table_id) AS c WHERE c.column_name <> c.current_name HAVING count(*) > 0),
               (SELECT format('Added: %s.', string_agg(a.attname, ', '))
                  FROM pg_attribute AS a
                 WHERE s.all_columns AND a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped
                   AND a.attname <> ALL (s.exclude_columns)
                   AND a.attname NOT IN (SELECT c.current_name FROM tide.synced_columns(s.table_id) AS c)
                HAVING count(*) > 0)),
           s.refresh
      FROM alive AS s
     WHERE (s.schema_now, s.name_now) IS DISTINCT FROM (s.table_schema, s.table_name)
        OR tide.current_names(s.table_id, s.sync_columns) IS DISTINCT FROM s.sync_columns
        OR s.all_columns AND EXISTS (
               SELECT FROM pg_attribute AS a
                WHERE a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped
                  AND a.attname <> ALL (s.exclude_columns)
                  AND a.attname NOT IN (SELECT c.current_name FROM tide.synced_columns(s.table_id) AS c))
     UNION ALL
    SELECT 'warning', s.named, 'capture functions are not as they would be written now', 'Capture and snapshots are right, but slower, until they are written anew.', 'SELECT tide.maintain()'
      FROM alive AS s
     WHERE CASE WHEN NOT s.function_gone AND NOT EXISTS (
                         SELECT FROM unnest(s.key_columns || s.owner_column || s.deleted_at_column || s.dep_columns) AS n
                          WHERE n IS NOT NULL AND n NOT IN (SELECT c.column_name FROM tide.synced_columns(s.table_id) AS c))
                THEN EXISTS (
                         SELECT FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS e
                           LEFT JOIN pg_proc AS p ON p.pronamespace = 'tide'::regnamespace AND p.proname = tide.capture_function(s.table_id, e)
                          WHERE p.prosrc IS NULL OR p.prosrc IS DISTINCT FROM tide.capture_source(s.table_id, e))
                     OR (SELECT r FROM tide.reading AS r WHERE r.table_id = s.table_id) IS DISTINCT FROM tide.make_reading(s.table_id) END
     UNION ALL
    SELECT 'error', s.named, 'the key is no longer unique', format('No usable unique index on (%s).', array_to_string(s.key_columns, ', ')), 'Create it again, or register the table with other key_columns.'
      FROM alive AS s
     WHERE tide.key_index(s.relation, tide.current_names(s.table_id, s.key_columns)::name[]) IS NULL
     UNION ALL
    SELECT 'error', s.named, 'bucket rules raise errors',
           format('%s; the latest: %s', CASE WHEN bool_or(f.row_key = '*') THEN 'Rows may lie in buckets where they should not' ELSE format('%s rows are in no bucket', count(*)) END, (array_agg(f.error ORDER BY f.failed_at DESC))[1]),
           'SELECT tide.retry_bucket_failures()'
      FROM alive AS s JOIN tide.bucket_failure AS f ON f.table_id = s.table_id
     GROUP BY s.named
     UNION ALL
    SELECT 'error', s.named, 'rows lie in other buckets than the rule says', format('%s of %s rows that were looked at: the rule looks at something that was not declared.', b.amiss, b.looked_at),
           format('SELECT tide.add_bucket_dependency(%L, ...), or once: SELECT tide.rebucket(%1$L)', s.named)
      FROM alive AS s CROSS JOIN LATERAL tide.sample_buckets(s.table_id) AS b
     WHERE s.derived AND b.amiss > 0
     UNION ALL
    SELECT 'warning', s.named, format('no index on (%s)', array_to_string(f.columns, ', ')), format('Rows whose buckets hang on %s are found by these columns.', string_agg(DISTINCT f.source, ', ')),
           format('CREATE INDEX CONCURRENTLY ON %s (%s)', s.named, (SELECT string_agg(quote_ident(n), ', ') FROM unnest(f.columns) AS n))
      FROM alive AS s
     CROSS JOIN LATERAL (SELECT r.parent::text AS source, tide.current_names(s.table_id, string_to_array(r.fk, ',')) AS columns FROM unnest(s.parents, s.parent_fks) AS r (parent, fk)
                          UNION ALL
                         SELECT o.relation::text, tide.current_names(s.table_id, d.table_columns)
                           FROM tide.bucket_dependency AS d JOIN tide.synced_table AS o ON o.table_id = d.source_id WHERE d.table_id = s.table_id AND d.affects IS NULL) AS f
     WHERE cardinality(f.columns) > 0
       AND NOT EXISTS (
               SELECT FROM pg_index AS i
                WHERE i.indrelid = s.existing AND i.indisvalid AND i.indpred IS NULL
                  AND ARRAY(SELECT a.attname::text FROM unnest((i.indkey::int2[])[0 : cardinality(f.columns) - 1]) AS k (attnum) JOIN pg_attribute AS a ON a.attrelid = s.existing AND a.attnum = k.attnum ORDER BY 1)
                      = ARRAY(SELECT n::text FROM unnest(f.columns) AS n ORDER BY 1))
     GROUP BY s.named, f.columns
     UNION ALL
    SELECT 'error', s.named, 'pgtide cannot read the table', p.problem, s.refresh
      FROM alive AS s CROSS JOIN LATERAL (SELECT tide.read_problem(s.relation)) AS p (problem)
     WHERE p.problem IS NOT NULL
     UNION ALL
    SELECT 'error', s.named, 'a seal could not read the table', format('%s; devices may lack rows.', l.error), s.reread
      FROM alive AS s
     CROSS JOIN LATERAL (SELECT a.error FROM tide.adoption_log AS a WHERE a.table_id = s.table_id ORDER BY a.seal_id DESC LIMIT 1) AS l
     WHERE l.error IS NOT NULL
     UNION ALL
    SELECT 'error', NULL, format('the function of %s is gone', f.name), format('It was %s.', f.signature), format('Create it again, or name another one: SELECT %s', f.remedy)
      FROM (SELECT 'bucket access' AS name, s.bucket_access AS signature, 'tide.set_bucket_access(...)' AS remedy FROM tide.setting AS s
             UNION ALL SELECT 'hook ' || h.hook, h.hook_function, format('tide.set_hook(%L, ...)', h.hook) FROM tide.hook AS h) AS f
     WHERE f.signature IS NOT NULL AND to_regprocedure(f.signature) IS NULL
     UNION ALL
    SELECT 'warning', NULL, format('hook %s fails', e.hook), format('%s events wait since %s; the latest error: %s', count(*), min(e.happened_at), (array_agg(e.error ORDER BY e.event_id DESC))[1]),
           'Mend the function: SELECT * FROM tide.hook_events; or end it: SELECT tide.set_hook(''' || e.hook || ''', NULL)'
      FROM tide.hook_event AS e WHERE e.attempts > 3
     GROUP BY e.hook
     UNION ALL
    SELECT 'error', NULL, 'capture is paused', format('Since %s; changes pass unseen.', s.paused_at), 'SELECT tide.resume()'
      FROM tide.setting AS s WHERE s.paused_at IS NOT NULL
     UNION ALL
    SELECT 'notice', NULL, 'devices have to wait', format('Maintenance: %s', s.maintenance_message), 'SELECT tide.set_maintenance(NULL)'
      FROM tide.setting AS s WHERE s.maintenance_message IS NOT NULL
     UNION ALL
    SELECT 'error', NULL, 'sequence tide.change_id draws numbers ahead', format('Its CACHE is %s.', q.seqcache), 'ALTER SEQUENCE tide.change_id CACHE 1'
      FROM pg_sequence AS q WHERE q.seqrelid = 'tide.change_id'::regclass AND (q.seqcache <> 1 OR q.seqincrement <> 1 OR q.seqcycle)
     UNION ALL
    SELECT 'warning', NULL, 'a log runs into its default partition', 'Partitions ahead are missing.', 'SELECT tide.maintain()'
     WHERE EXISTS (SELECT FROM tide.change_log_default) OR EXISTS (SELECT FROM tide.bundle_log_default) OR EXISTS (SELECT FROM tide.seal_log_default)
     UNION ALL
    SELECT 'warning', NULL, 'a prepared transaction is open', format('%s, prepared %s; nothing of it is sealed before it ends.', quote_literal(p.gid), p.prepared),
           format('COMMIT PREPARED %L', p.gid)
      FROM pg_prepared_xacts AS p WHERE p.database = current_database() AND p.prepared < now() - interval '1 hour'
     ORDER BY 1, 2, 3;
$$;
COMMENT ON FUNCTION tide.check() IS 'What is or may be wrong, one row a finding: what, why it matters, the SQL that mends it. Empty when all is well.';
