CREATE OR REPLACE FUNCTION tide.watch_columns(relation regclass, columns text[])
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_problem text := tide.registration_problem(relation);
    v_unknown text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns) AS c
                        WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = c AND a.attnum > 0 AND NOT a.attisdropped));
    v_wanted  tide.synced_table;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'table % cannot be captured', relation USING ERRCODE = 'TD001', DETAIL = v_problem, HINT = 'Buckets can only hang on tables whose changes are seen.';
    END IF;
    IF v_unknown IS NOT NULL OR cardinality(columns) = 0 THEN
        RAISE EXCEPTION 'table % has no such column', relation USING ERRCODE = 'TD003', DETAIL = format('Unknown: %s.', v_unknown), HINT = 'Name the columns that the rule looks at.';
    END IF;
    IF EXISTS (SELECT FROM tide.synced_table AS s WHERE s.relation = watch_columns.relation AND s.unregistered_at IS NULL) THEN
        RETURN;
    END IF;
    SELECT n.nspname, c.relname INTO v_wanted.table_schema, v_wanted.table_name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation;
    v_wanted.relation := relation;
    v_wanted.on_capture_error := 'fail';
    v_wanted.push_policy := 'disabled';
    v_wanted.push_search_path := '';
    v_wanted.exclude_columns := '{}';
    v_wanted.server_columns := '{}';
    v_wanted.protected_columns := '{}';
    v_wanted.parents := '{}';
    v_wanted.parent_fks := '{}';
    v_wanted.all_columns := false;
    v_wanted.derived := false;
    v_wanted.synced := false;
    PERFORM tide.apply_registration(v_wanted, NULL, false);
END;
$$;
COMMENT ON FUNCTION tide.watch_columns(regclass, text[]) IS 'Captures a table that rules of others look at, when it is not captured yet. Raises TD001, TD003 and what registering does. Internal.';
