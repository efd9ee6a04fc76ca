CREATE OR REPLACE FUNCTION tide.failed_row(table_id integer, change tide.rule_change, error text)
    RETURNS tide.judged_row
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
DECLARE
    v_hash bigint := hashtextextended(change.row_key, table_id);
BEGIN
    RETURN ROW(change.row_key, v_hash, change.last_change_id, change.op,
               ARRAY(SELECT m.bucket_id::text FROM tide.membership AS m
                      WHERE m.table_id = failed_row.table_id AND m.key_hash = v_hash AND m.row_key = change.row_key COLLATE "C" ORDER BY m.bucket_id),
               '{}'::text[], NULL, error)::tide.judged_row;
END;
$$;
COMMENT ON FUNCTION tide.failed_row(integer, tide.rule_change, text) IS 'A row whose rule raised: in no bucket from now on. Internal.';
