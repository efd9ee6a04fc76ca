-- The application must not notice: a policy that lets everybody do everything, which the planner drops,
-- and RESTRICTIVE ones for the client role alone.
CREATE OR REPLACE FUNCTION tide.enable_rls(table_name regclass, write text DEFAULT 'readers', push boolean DEFAULT false, dry_run boolean DEFAULT false)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table  tide.synced_table := tide.registered_table(table_name);
    v_others text := (SELECT string_agg(quote_ident(p.polname), ', ') FROM pg_policy AS p WHERE p.polrelid = table_name AND p.polname !~ '^tide_(everybody|client_|owner_reads)');
    v_on     boolean := (SELECT c.relrowsecurity FROM pg_class AS c WHERE c.oid = table_name);
    v_client name := (SELECT s.client_role FROM tide.setting AS s);
    v_write  text := write;
    v_policy record;
    v_sql    text;
    v_steps  text[] := '{}';
BEGIN
    IF v_others IS NOT NULL OR v_on AND v_table.rls_write IS NULL THEN
        RAISE EXCEPTION 'table % has row-level security of its own', table_name
            USING ERRCODE = 'TD023', DETAIL = coalesce(format('Policies: %s.', v_others), 'It is on, without a policy.'),
                  HINT = 'Its policies decide: register it with push_policy => ''rls''. SELECT * FROM tide.policies_sql(...) prints what pgtide would make of the bucket rule.';
    END IF;
    IF write NOT IN ('none', 'readers', 'owner') THEN
        v_write := tide.resolve_write_function(table_name, write);
    ELSIF write = 'owner' AND (v_table.owner_column IS NULL OR v_table.bucket_prefix <> 'user:') THEN
        RAISE EXCEPTION 'table % has no column that holds its user', table_name
            USING ERRCODE = 'TD023', HINT = 'Use write => ''readers'', ''none'', or a function: app.may_write(user_id text, r app.task) returns boolean.';
    END IF;
    FOR v_policy IN SELECT * FROM tide.policies(v_table.table_id, v_write) LOOP
        IF EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = table_name AND p.polname = v_policy.name) THEN
            v_steps := v_steps || format('DROP POLICY %I ON %s', v_policy.name, table_name);
        END IF;
        v_steps := v_steps || v_policy.statement;
    END LOOP;
    IF NOT v_on THEN
        v_steps := v_steps || format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', table_name);
        RETURN NEXT format('-- Others than the owner of %s see and write what they did, with two exceptions of PostgreSQL: COPY %1$s FROM is refused to them, and pg_dump by a role that is not the owner needs --enable-row-security.', table_name);
    END IF;
    RETURN QUERY SELECT s FROM unnest(v_steps) AS s;
    IF dry_run THEN
        RETURN;
    END IF;
    PERFORM tide.write_reads_function(v_table.table_id);
    PERFORM tide.lock_briefly(table_name, 'ACCESS EXCLUSIVE');
    FOREACH v_sql IN ARRAY v_steps LOOP
        EXECUTE v_sql;
    END LOOP;
    UPDATE tide.synced_table AS s SET rls_write = v_write WHERE s.table_id = v_table.table_id RETURNING * INTO v_table;
    IF push AND v_table.push_policy <> 'rls' THEN
        v_table.push_policy := 'rls';
        RETURN QUERY SELECT r FROM tide.apply_registration(v_table, false, false) AS r;
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.enable_rls(regclass, text, boolean, boolean) IS
'Switches row-level security on for a table that has none, so that the client role reads what the bucket rule says and writes as write says: readers (who may read), owner (the user in owner_column), none, a function of (user_id text, row) that returns boolean, or one of (user_id text) that returns the buckets whose rows he may write. With push his devices may push what this lets him write. Nobody else notices. An inserted row must name the user as its owner. Says the statements; with dry_run it only says them. Run it again to change them. Raises TD008, TD009, TD023.';
