CREATE OR REPLACE FUNCTION tide.resolve_bucket_function(relation regclass, bucket_function text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_row_type regtype := (SELECT c.reltype FROM pg_class AS c WHERE c.oid = relation);
    v_function regprocedure;
    v_problem  text;
BEGIN
    -- Either a name, or a signature as regprocedure prints it.
    v_function := to_regprocedure(CASE WHEN strpos(bucket_function, '(') > 0 THEN bucket_function ELSE format('%s(%s)', bucket_function, v_row_type) END);
    SELECT CASE
               WHEN v_function IS NULL THEN 'There is no such function.'
               WHEN p.pronargs <> 1 OR p.proargtypes[0] <> v_row_type THEN format('Its one argument must be the row, %s.', v_row_type)
               WHEN p.prorettype NOT IN ('text'::regtype, 'text[]'::regtype) OR p.proretset THEN 'It must return text or text[].'
               WHEN p.provolatile = 'v' THEN 'It must be IMMUTABLE when it looks at the row alone, or STABLE when it looks at other tables.'
               WHEN NOT has_function_privilege('tide_owner', p.oid, 'EXECUTE') THEN 'tide_owner may not execute it.'
           END
      INTO v_problem
      FROM (SELECT v_function AS oid) AS f LEFT JOIN pg_proc AS p ON p.oid = f.oid;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'bucket function % cannot be used', bucket_function
            USING ERRCODE = 'TD005',
                  DETAIL  = v_problem,
                  HINT    = CASE WHEN v_problem ~ 'may not execute' THEN format('GRANT EXECUTE ON FUNCTION %s TO tide_owner;', v_function) ELSE format('Write it as: CREATE FUNCTION my_schema.buckets(r %s) RETURNS text[] LANGUAGE sql IMMUTABLE AS ..., and name it with its schema.', v_row_type) END;
    END IF;
    RETURN v_function::text;
END;
$$;
COMMENT ON FUNCTION tide.resolve_bucket_function(regclass, text) IS 'Signature of the bucket function of a table. Raises TD005. Internal.';
