CREATE OR REPLACE FUNCTION tide.set_hook(hook text, hook_function text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_hook     text := hook;
    v_function regprocedure;
    v_problem  text;
BEGIN
    IF v_hook NOT IN ('before_push_commit', 'on_conflict', 'on_seal', 'on_stale') OR v_hook IS NULL THEN
        v_problem := 'There is no such hook.';
    ELSIF set_hook.hook_function IS NOT NULL THEN
        -- Either a name, or a signature as regprocedure prints it.
        v_function := to_regprocedure(CASE WHEN strpos(set_hook.hook_function, '(') > 0 THEN set_hook.hook_function ELSE set_hook.hook_function || '(jsonb)' END);
        SELECT CASE
                   WHEN v_function IS NULL THEN 'There is no such function.'
                   WHEN p.pronargs <> 1 OR p.proargtypes[0] <> 'jsonb'::regtype THEN 'Its one argument must be what happened, jsonb.'
                   WHEN p.prokind <> 'f' OR p.prorettype <> 'void'::regtype THEN 'It must return void.'
                   WHEN NOT has_function_privilege('tide_owner', p.oid, 'EXECUTE') THEN 'tide_owner may not execute it.'
               END
          INTO v_problem
          FROM (SELECT v_function AS oid) AS f LEFT JOIN pg_proc AS p ON p.oid = f.oid;
    END IF;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'hook % cannot be %', v_hook, coalesce(set_hook.hook_function, 'removed')
            USING ERRCODE = 'TD033',
                  DETAIL  = v_problem,
                  HINT    = CASE WHEN v_problem ~ 'may not execute' THEN format('GRANT EXECUTE ON FUNCTION %s TO tide_owner;', v_function)
                                 ELSE 'Hooks are before_push_commit, on_conflict, on_seal and on_stale. Write CREATE FUNCTION my_schema.told(event jsonb) RETURNS void ..., and name it, and what it uses, with the schema.' END;
    END IF;
    DELETE FROM tide.hook AS h WHERE h.hook = v_hook;
    IF v_function IS NOT NULL THEN
        INSERT INTO tide.hook (hook, hook_function) VALUES (v_hook, v_function::text);
    ELSE
        DELETE FROM tide.hook_event AS e WHERE e.hook = v_hook;
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.set_hook(text, text) IS
'Names a function my_schema.told(event jsonb) RETURNS void that is called, as tide_owner, at before_push_commit (within the push; it refuses it by raising), on_conflict, on_seal or on_stale (afterwards, again until it succeeds). NULL ends it, and what it was still to be told. Raises TD033.';
