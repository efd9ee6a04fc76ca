CREATE OR REPLACE FUNCTION tide.missing_grants(relations regclass[])
    RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(
        SELECT format('GRANT USAGE ON SCHEMA %s TO tide_owner', n.oid::regnamespace)
          FROM pg_namespace AS n
         WHERE n.oid IN (SELECT c.relnamespace FROM pg_class AS c WHERE c.oid = ANY (relations))
           AND NOT has_schema_privilege('tide_owner', n.oid, 'USAGE')
    ) || ARRAY(
        SELECT format('GRANT SELECT ON TABLE %s TO tide_owner', c.oid::regclass)
          FROM pg_class AS c
         WHERE c.oid = ANY (relations)
           AND NOT has_table_privilege('tide_owner', c.oid, 'SELECT')
    ) || ARRAY(
        -- The table hides rows from everybody but its owner: pgtide gets a policy of its own.
        SELECT format('CREATE POLICY tide_owner_reads ON %s FOR SELECT TO tide_owner USING (true)', c.oid::regclass)
          FROM pg_class AS c
         WHERE c.oid = ANY (relations)
           AND c.relrowsecurity
           AND tide.read_problem(c.oid) IS NOT NULL
           AND NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = 'tide_owner_reads')
    );
$$;
COMMENT ON FUNCTION tide.missing_grants(regclass[]) IS 'Statements that let tide_owner read tables. Internal.';
