CREATE OR REPLACE FUNCTION tide.set_bucket_access(access_function text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_function regprocedure;
    v_problem  text;
BEGIN
    IF access_function IS NOT NULL THEN
        -- Either a name, or a signature as regprocedure prints it.
        v_function := to_regprocedure(CASE WHEN strpos(access_function, '(') > 0 THEN access_function ELSE access_function || '(text)' END);
        SELECT CASE
                   WHEN v_function IS NULL THEN 'There is no such function.'
                   WHEN p.pronargs <> 1 OR p.proargtypes[0] <> 'text'::regtype THEN 'Its one argument must be the user, text.'
                   WHEN p.prokind <> 'f' OR p.prorettype <> CASE WHEN p.proretset THEN 'text'::regtype ELSE 'text[]'::regtype END THEN 'It must return SETOF text or text[].'
                   WHEN p.provolatile = 'v' THEN 'It must be STABLE: it is asked at every request, also on a standby.'
                   WHEN NOT has_function_privilege('tide_owner', p.oid, 'EXECUTE') THEN 'tide_owner may not execute it.'
               END
          INTO v_problem
          FROM (SELECT v_function AS oid) AS f LEFT JOIN pg_proc AS p ON p.oid = f.oid;
        IF v_problem IS NOT NULL THEN
            RAISE EXCEPTION 'access function % cannot be used', access_function
                USING ERRCODE = 'TD031',
                      DETAIL  = v_problem,
                      HINT    = CASE WHEN v_problem ~ 'may not execute' THEN format('GRANT EXECUTE ON FUNCTION %s TO tide_owner;', v_function)
                                     ELSE 'Write it as: CREATE FUNCTION my_schema.buckets(user_id text) RETURNS SETOF text LANGUAGE sql STABLE AS ..., and name it, and what it reads, with the schema.' END;
        END IF;
    END IF;
    UPDATE tide.setting AS s SET bucket_access = v_function::text;
END;
$$;
COMMENT ON FUNCTION tide.set_bucket_access(text) IS
'Names the function that says which buckets a user may read, beside his home bucket: my_schema.buckets(user_id text), STABLE, returning SETOF text or text[]. It is asked at every request and runs as tide_owner. NULL is the standard: the home bucket and global. Raises TD031.';
