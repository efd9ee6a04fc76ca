-- IMMUTABLE is not true, and meant so: like tide.has_shape, folded into a plan that a new policy ends.
CREATE OR REPLACE FUNCTION tide.is_readable(relation oid)
    RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT tide.read_problem(relation) IS NULL;
$$;
COMMENT ON FUNCTION tide.is_readable(oid) IS 'Whether tide_owner can read every row of the table. Internal.';
