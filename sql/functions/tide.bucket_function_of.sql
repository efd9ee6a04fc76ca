-- By its name and the row it takes: the signature that was registered has the names of then. One in another schema
-- counts where that schema is no more, and only if whoever owns the table, or a superuser, made it: it runs as tide_owner.
CREATE OR REPLACE FUNCTION tide.bucket_function_of(table_id integer)
    RETURNS oid
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT p.oid
      FROM tide.synced_table AS s
      JOIN pg_class AS c ON c.oid = s.relation
     CROSS JOIN LATERAL parse_ident(s.bucket_function, false) AS i (names)
      JOIN pg_proc AS p ON p.proname = i.names[2] AND p.pronargs = 1 AND p.proargtypes[0] = c.reltype
      JOIN pg_namespace AS n ON n.oid = p.pronamespace
     WHERE s.table_id = bucket_function_of.table_id
       AND (n.nspname = i.names[1]
            OR to_regnamespace(quote_ident(i.names[1])) IS NULL
               AND (p.proowner = c.relowner OR (SELECT r.rolsuper FROM pg_roles AS r WHERE r.oid = p.proowner)))
     ORDER BY p.oid
     LIMIT 1);
END;
$$;
COMMENT ON FUNCTION tide.bucket_function_of(integer) IS 'The bucket function of a table, also after the table, or the schema of the function, was renamed; NULL when it has none, or it is gone. Internal.';
