CREATE OR REPLACE FUNCTION tide.read_problem(relation regclass)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
               WHEN NOT has_schema_privilege('tide_owner', c.relnamespace, 'USAGE') THEN format('tide_owner has no USAGE on schema %s.', c.relnamespace::regnamespace)
               WHEN NOT has_table_privilege('tide_owner', c.oid, 'SELECT') THEN 'tide_owner has no SELECT on the table.'
               WHEN NOT c.relrowsecurity OR r.rolbypassrls OR r.rolsuper OR (pg_has_role('tide_owner', c.relowner, 'USAGE') AND NOT c.relforcerowsecurity) THEN NULL
               WHEN p.restrictive IS NOT NULL THEN format('RESTRICTIVE policy %s applies to tide_owner.', p.restrictive)
               WHEN NOT coalesce(p.all_rows, false) THEN 'Row-level security is on, and tide_owner has no policy that shows it every row.'
           END
      FROM pg_class AS c
      JOIN pg_roles AS r ON r.rolname = 'tide_owner'
     CROSS JOIN LATERAL (
               SELECT string_agg(quote_ident(l.polname), ', ') FILTER (WHERE NOT l.polpermissive AND pg_get_expr(l.polqual, l.polrelid) IS DISTINCT FROM 'true') AS restrictive,
                      bool_or(l.polpermissive AND pg_get_expr(l.polqual, l.polrelid) = 'true') AS all_rows
                 FROM pg_policy AS l
                WHERE l.polrelid = c.oid
                  AND l.polcmd IN ('r', '*')
                  AND EXISTS (SELECT FROM unnest(l.polroles) AS g (oid) WHERE g.oid = 0 OR pg_has_role('tide_owner', g.oid, 'USAGE'))
           ) AS p
     WHERE c.oid = relation;
$$;
COMMENT ON FUNCTION tide.read_problem(regclass) IS 'Why tide_owner cannot read every row of the table, NULL when it can. Internal.';
