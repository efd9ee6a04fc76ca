CREATE OR REPLACE FUNCTION tide.disable_rls(table_name regclass)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table tide.synced_table := tide.registered_table(table_name);
    v_name  text;
BEGIN
    IF v_table.rls_write IS NULL THEN
        RETURN;
    END IF;
    PERFORM tide.lock_briefly(table_name, 'ACCESS EXCLUSIVE');
    FOR v_name IN SELECT p.polname FROM pg_policy AS p WHERE p.polrelid = table_name AND p.polname ~ '^tide_(everybody|client_)' LOOP
        EXECUTE format('DROP POLICY %I ON %s', v_name, table_name);
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = table_name) THEN
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', table_name);
    END IF;
    EXECUTE format('DROP FUNCTION IF EXISTS tide.reads_%s(%s, text[], text[])', v_table.table_id, (SELECT c.reltype::regtype FROM pg_class AS c WHERE c.oid = table_name));
    UPDATE tide.synced_table AS s SET rls_write = NULL WHERE s.table_id = v_table.table_id;
END;
$$;
COMMENT ON FUNCTION tide.disable_rls(regclass) IS 'Takes back what tide.enable_rls did to a table. Raises TD008, TD009.';
