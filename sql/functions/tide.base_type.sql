CREATE OR REPLACE FUNCTION tide.base_type(type_id oid)
    RETURNS regtype
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE chain (oid, base) AS (
        SELECT t.oid, t.typbasetype FROM pg_type AS t WHERE t.oid = type_id
        UNION ALL
        SELECT t.oid, t.typbasetype FROM chain AS c JOIN pg_type AS t ON t.oid = c.base
    )
    SELECT c.oid::regtype FROM chain AS c WHERE c.base = 0;
$$;
COMMENT ON FUNCTION tide.base_type(oid) IS 'The type below a domain, through any number of domains. Internal.';
