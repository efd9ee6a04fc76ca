CREATE OR REPLACE FUNCTION tide.assert_push_policy(wanted tide.synced_table)
    RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_open text;
    v_rls  boolean := (SELECT c.relrowsecurity FROM pg_class AS c WHERE c.oid = wanted.relation);
BEGIN
    IF wanted.push_policy IS NULL OR wanted.push_policy NOT IN ('disabled', 'owner_only', 'rls') THEN
        RAISE EXCEPTION 'push_policy cannot be %', coalesce(quote_literal(wanted.push_policy), 'NULL')
            USING ERRCODE = 'TD006', HINT = 'Use ''disabled'', ''owner_only'' or ''rls''.';
    END IF;
    IF wanted.push_policy = 'disabled' THEN
        RETURN;
    END IF;
    IF wanted.push_policy = 'owner_only' AND (wanted.owner_column IS NULL OR wanted.bucket_prefix <> 'user:') THEN
        RAISE EXCEPTION 'push_policy owner_only needs the column that holds the user'
            USING ERRCODE = 'TD006',
                  DETAIL  = 'Its rows belong to the user named in owner_column, with the bucket prefix user:.',
                  HINT    = 'Register with owner_column, or let row-level security decide: push_policy => ''rls''.';
    END IF;
    IF wanted.push_policy = 'owner_only' AND v_rls THEN
        RAISE EXCEPTION 'push_policy owner_only is not for tables with row-level security'
            USING ERRCODE = 'TD006',
                  DETAIL  = 'Its policies would judge tide_owner, not the user who pushes.',
                  HINT    = 'Use push_policy => ''rls'': the policies decide.';
    END IF;
    IF wanted.push_policy = 'rls' AND NOT v_rls THEN
        RAISE EXCEPTION 'push_policy rls needs row-level security on table %', wanted.relation
            USING ERRCODE = 'TD006',
                  DETAIL  = 'Without it every user could change every row.',
                  HINT    = 'ALTER TABLE ... ENABLE ROW LEVEL SECURITY and create policies, or use push_policy => ''owner_only''.';
    END IF;
    -- Triggers run with the rights of tide_owner there: nobody else may put functions in their way.
    SELECT string_agg(quote_ident(n.nspname), ', ')
      INTO v_open
      FROM unnest(tide.push_schemas(wanted.push_search_path)) AS s (name)
      JOIN pg_namespace AS n ON n.nspname = s.name
     WHERE has_schema_privilege('public', n.oid, 'CREATE') OR has_schema_privilege('tide_client', n.oid, 'CREATE');
    IF v_open IS NOT NULL THEN
        RAISE EXCEPTION 'push_search_path names schemas in which anybody may create functions'
            USING ERRCODE = 'TD006',
                  DETAIL  = format('These: %s.', v_open),
                  HINT    = format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC, or give another push_search_path.', v_open);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_push_policy(tide.synced_table) IS 'Raises TD006 unless a table may be pushed to as its registration says. Internal.';
