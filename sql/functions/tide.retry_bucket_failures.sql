CREATE OR REPLACE FUNCTION tide.retry_bucket_failures()
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    -- Where not even the rows are known, the whole table is judged.
    PERFORM tide.mark_table(f.table_id, 'A', 'bucket rules tried again') FROM tide.bucket_failure AS f JOIN tide.synced_table AS s ON s.table_id = f.table_id AND s.derived WHERE f.row_key = '*';
    INSERT INTO tide.change_log (table_id, op, row_key, key_hash)
    SELECT f.table_id, 'R', f.row_key, f.key_hash FROM tide.bucket_failure AS f WHERE f.row_key <> '*';
    GET DIAGNOSTICS v_count = ROW_COUNT;
    DELETE FROM tide.bucket_failure AS f WHERE f.row_key = '*';
    RETURN v_count;
END;
$$;
COMMENT ON FUNCTION tide.retry_bucket_failures() IS 'Has the next seal judge the rows of tide.bucket_failures again, and returns their number.';
