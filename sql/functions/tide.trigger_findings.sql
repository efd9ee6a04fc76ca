CREATE OR REPLACE FUNCTION tide.trigger_findings(
    table_id integer,
    OUT relation regclass, OUT trigger_name name, OUT problem text, OUT remedy text
)
    RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH tree AS (
        SELECT s.table_id, t.oid, tide.needs_read_back(s.relation) AS read_back
          FROM tide.synced_table AS s
         CROSS JOIN LATERAL (SELECT s.relation::oid UNION SELECT p.relid FROM pg_partition_tree(s.relation) AS p) AS t (oid)
         WHERE s.table_id = trigger_findings.table_id
    ), wanted AS (
        SELECT t.oid, e.name, e.clause, e.function, t.read_back OR e.name !~ '^_tide_order' AS needed
          FROM tree AS t
         CROSS JOIN LATERAL (VALUES
                   ('_tide_insert', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS inserted', tide.capture_function(t.table_id, 'INSERT')),
                   ('_tide_update', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS before NEW TABLE AS updated', tide.capture_function(t.table_id, 'UPDATE')),
                   ('_tide_delete', 'AFTER DELETE ON %s REFERENCING OLD TABLE AS deleted', tide.capture_function(t.table_id, 'DELETE')),
                   ('_tide_truncate', 'BEFORE TRUNCATE ON %s', tide.capture_function(t.table_id, 'TRUNCATE')),
                   ('_tide_order_insert', 'BEFORE INSERT ON %s', 'draw_order'),
                   ('_tide_order_update', 'BEFORE UPDATE ON %s', 'draw_order'),
                   ('_tide_order_delete', 'BEFORE DELETE ON %s', 'draw_order')
               ) AS e (name, clause, function)
    )
    SELECT w.oid::regclass, w.name::name,
           CASE WHEN NOT w.needed THEN 'superfluous' WHEN g.oid IS NULL THEN 'missing' ELSE 'disabled' END,
           concat_ws('; ',
               CASE WHEN NOT w.needed THEN format('DROP TRIGGER %I ON %s', w.name, w.oid::regclass) END,
               CASE WHEN w.needed AND g.oid IS NULL THEN
                   format('CREATE TRIGGER %I %s FOR EACH STATEMENT EXECUTE FUNCTION tide.%I()', w.name, format(w.clause, w.oid::regclass), w.function) END,
               CASE WHEN w.needed THEN format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', w.oid::regclass, w.name) END)
      FROM wanted AS w
      LEFT JOIN pg_trigger AS g ON g.tgrelid = w.oid AND g.tgname = w.name
     WHERE w.needed AND (g.oid IS NULL OR g.tgenabled <> 'A') OR NOT w.needed AND g.oid IS NOT NULL;
$$;
COMMENT ON FUNCTION tide.trigger_findings(integer) IS 'Capture triggers of a table and its partitions that are missing, not enabled for ALWAYS, or no longer needed, with the statements that mend it. Internal.';
