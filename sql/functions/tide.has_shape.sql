-- IMMUTABLE is not true, and meant so: the planner folds the answer into the plan of the capture
-- function, and forgets that plan when the table is altered. Between two ALTERs it costs nothing.
CREATE OR REPLACE FUNCTION tide.has_shape(table_id integer, shape text)
    RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT tide.capture_shape(table_id) IS NOT DISTINCT FROM shape;
$$;
COMMENT ON FUNCTION tide.has_shape(integer, text) IS 'Whether the table still is what its capture functions were written for. Internal.';
