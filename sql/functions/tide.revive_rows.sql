CREATE OR REPLACE FUNCTION tide.revive_rows(rows tide.pushed_row[], revived bigint[])
    RETURNS tide.pushed_row[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT CASE WHEN revived IS NULL THEN rows ELSE ARRAY(
                       SELECT ROW(r.ordinal, r.table_id, CASE WHEN r.ordinal = ANY (revived) THEN 'U' ELSE r.op END, r.base, r.key_hash, r.row_key, r.key, r.payload, r.columns, r.known, r.rls)::tide.pushed_row
                         FROM unnest(rows) AS r) END);
END;
$$;
COMMENT ON FUNCTION tide.revive_rows(tide.pushed_row[], bigint[]) IS 'Makes updates of inserts whose row is there, deleted softly. Internal.';
