CREATE OR REPLACE FUNCTION tide.missing_push_grants(wanted tide.synced_table)
    RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH writer AS (
        SELECT CASE wanted.push_policy WHEN 'owner_only' THEN 'tide_owner' ELSE s.client_role END AS name
          FROM tide.setting AS s
         WHERE wanted.push_policy <> 'disabled'
    ), needed AS (
        SELECT 1 AS step, format('USAGE ON SCHEMA %s', n.oid::regnamespace) AS privilege, has_schema_privilege(w.name, n.oid, 'USAGE') AS held, w.name
          FROM writer AS w, pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.oid = wanted.relation AND w.name <> 'tide_owner'
         UNION ALL
        SELECT 1, 'USAGE ON SCHEMA tide', has_schema_privilege(w.name, 'tide', 'USAGE'), w.name FROM writer AS w
         UNION ALL
        SELECT 2, format('%s ON TABLE %s', p.privilege, wanted.relation), has_table_privilege(w.name, wanted.relation, p.privilege), w.name
          FROM writer AS w, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (privilege)
         WHERE w.name <> 'tide_owner' OR p.privilege <> 'SELECT'
         UNION ALL
        -- A default that draws from a sequence does so as who inserts.
        SELECT 3, format('USAGE ON SEQUENCE %s', q.oid::regclass), has_sequence_privilege(w.name, q.oid, 'USAGE'), w.name
          FROM writer AS w, pg_attrdef AS d
          JOIN pg_depend AS e ON e.classid = 'pg_attrdef'::regclass AND e.objid = d.oid AND e.refclassid = 'pg_class'::regclass
          JOIN pg_class AS q ON q.oid = e.refobjid AND q.relkind = 'S'
         WHERE d.adrelid = wanted.relation
    )
    SELECT coalesce(array_agg(format('GRANT %s TO %I', n.privilege, n.name) ORDER BY n.step, n.privilege), '{}') FROM needed AS n WHERE NOT n.held;
$$;
COMMENT ON FUNCTION tide.missing_push_grants(tide.synced_table) IS 'Statements that let the role that writes pushes write a table. Internal.';
