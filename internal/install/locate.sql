-- Where goose's table of applied migrations is, or where it is to be made; problem says why neither
-- is known. It runs with the installer's own search_path, so every name is qualified.
WITH found AS (
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, r.rolname AS owner,
           -- Who owns the table can put triggers on it, and they would run as the installer.
           r.rolname = current_user OR r.rolsuper
           OR coalesce(pg_catalog.pg_has_role(r.oid, pg_catalog.to_regrole('tide_owner')::oid, 'MEMBER'), false) AS is_trusted
      FROM pg_catalog.pg_class AS c
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
     WHERE c.relname = 'tide_goose_version'
       AND pg_catalog.left(n.nspname::text, 3) <> 'pg_'
), place AS (
    -- Where goose would make it; then public.
    SELECT pg_catalog.format('%I.%I', n.nspname, 'tide_goose_version'::name) AS name
      FROM pg_catalog.unnest(pg_catalog.array_append(pg_catalog.current_schemas(false), 'public'::name)) WITH ORDINALITY AS s (name, nth)
      JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.name
     WHERE s.name <> 'tide'
       AND pg_catalog.left(n.nspname::text, 3) <> 'pg_'
       AND pg_catalog.has_schema_privilege(n.oid, 'CREATE')
     ORDER BY s.nth LIMIT 1
), summary AS (
    SELECT (SELECT pg_catalog.count(*) FROM found AS f) AS tables,
           (SELECT pg_catalog.string_agg(f.name, ', '::text ORDER BY f.name) FROM found AS f) AS names,
           (SELECT pg_catalog.string_agg(f.owner::text, ', '::text) FROM found AS f WHERE NOT f.is_trusted) AS strangers,
           (SELECT p.name FROM place AS p) AS place
)
SELECT coalesce(s.names, s.place, '') AS version_table,
       s.tables > 0 AS is_found,
       pg_catalog.to_regnamespace('tide') IS NOT NULL AS has_schema,
       CASE
           WHEN s.tables > 1 THEN pg_catalog.format('there are several tables of applied migrations: %s', s.names)
           WHEN s.strangers IS NOT NULL THEN pg_catalog.format('table %s belongs to %s, who is not a member of tide_owner', s.names, s.strangers)
           WHEN s.tables = 0 AND s.place IS NULL THEN pg_catalog.format('there is no schema in which %s may make the table tide_goose_version', current_user)
           ELSE ''
       END AS problem,
       CASE
           WHEN s.tables > 1 THEN 'Drop those that list no migration but 0: they come from an attempt with another search_path.'
           WHEN s.strangers IS NOT NULL THEN 'Its owner could run code as whoever installs. If the table is a leftover, drop it; else install as its owner.'
           WHEN s.tables = 0 AND s.place IS NULL
               THEN pg_catalog.format('Run GRANT CREATE ON SCHEMA public TO %I, or put a schema of your own first: ?options=-csearch_path%%3Dmyschema', current_user)
           ELSE ''
       END AS hint
  FROM summary AS s;
