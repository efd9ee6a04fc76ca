CREATE OR REPLACE FUNCTION tide.key_pushed(table_id integer, rows tide.pushed_row[])
    RETURNS tide.pushed_row[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('SELECT tide.push_%s_keys($1)', table_id) INTO rows USING rows;
    RETURN rows;
END;
$$;
COMMENT ON FUNCTION tide.key_pushed(integer, tide.pushed_row[]) IS 'The rows of one table among those of a push, with row_key and key_hash; NULL where a key is not canonical. Internal.';
