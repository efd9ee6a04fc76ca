CREATE OR REPLACE FUNCTION tide.resolve_write_function(relation regclass, function_name text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_row_type regtype := (SELECT c.reltype FROM pg_class AS c WHERE c.oid = relation);
    v_client   name := (SELECT s.client_role FROM tide.setting AS s);
    v_function regprocedure := coalesce(to_regprocedure(format('%s(text, %s)', function_name, v_row_type)), to_regprocedure(function_name || '(text)'));
    v_problem  text;
BEGIN
    SELECT CASE
               WHEN p.oid IS NULL THEN format('There is no function of (text, %s), nor of (text).', v_row_type)
               WHEN p.pronargs = 2 AND (p.prorettype <> 'boolean'::regtype OR p.proretset) THEN 'Of the user and the row it must return boolean.'
               WHEN p.pronargs = 1 AND p.prorettype <> CASE WHEN p.proretset THEN 'text'::regtype ELSE 'text[]'::regtype END THEN 'Of the user alone it must return the buckets whose rows he may write: SETOF text or text[].'
               WHEN NOT has_function_privilege(v_client, p.oid, 'EXECUTE') THEN format('%I may not execute it.', v_client)
           END
      INTO v_problem
      FROM (SELECT v_function AS oid) AS f LEFT JOIN pg_proc AS p ON p.oid = f.oid;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'write cannot be %', quote_literal(function_name)
            USING ERRCODE = 'TD023', DETAIL = v_problem, HINT = 'Use ''readers'', ''owner'', ''none'', or name, with its schema, a function of (user_id text, r app.task) that returns boolean, or one of (user_id text) that returns buckets; SECURITY DEFINER, when it looks at tables that devices must not read.';
    END IF;
    RETURN (SELECT format('%I.%I', n.nspname, p.proname) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = v_function);
END;
$$;
COMMENT ON FUNCTION tide.resolve_write_function(regclass, text) IS 'Name of the function that says who may write rows of a table. Raises TD023. Internal.';
