-- IMMUTABLE is not true, and meant so: the planner folds the answer into the plan of the capture
-- function, and forgets that plan when the relation that is named in it is altered. Between two ALTERs it costs
-- nothing, not even a query.
CREATE OR REPLACE FUNCTION tide.has_shape(table_id integer, shape text, relation regclass)
    RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT tide.capture_shape(table_id) IS NOT DISTINCT FROM shape;
$$;
COMMENT ON FUNCTION tide.has_shape(integer, text, regclass) IS 'Whether the table still is what its capture functions were written for; relation is that of the table, as a constant. Internal.';
