CREATE OR REPLACE FUNCTION tide.registered_table(relation regclass)
    RETURNS tide.synced_table
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table tide.synced_table;
BEGIN
    SELECT * INTO v_table FROM tide.synced_table AS s WHERE s.relation = registered_table.relation AND s.unregistered_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not registered', relation
            USING ERRCODE = 'TD009', HINT = 'SELECT * FROM tide.tables lists those that are; tide.register_table adds one.';
    END IF;
    RETURN v_table;
END;
$$;
COMMENT ON FUNCTION tide.registered_table(regclass) IS 'Registration of a table. Raises TD009. Internal.';
