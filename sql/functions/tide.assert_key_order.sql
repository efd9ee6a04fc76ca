CREATE OR REPLACE FUNCTION tide.assert_key_order(how tide.reading)
    RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF how.key_order IS NULL THEN
        RAISE EXCEPTION 'table % has no usable unique index on its key', (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = how.table_id)
            USING ERRCODE = 'TD012', DETAIL = 'Snapshots read its rows in the order of that index.', HINT = 'Create it again, or register the table with other key_columns; SELECT * FROM tide.check() says which.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_key_order(tide.reading) IS 'Raises TD012 unless the rows of a table can be read in the order of its key. Internal.';
