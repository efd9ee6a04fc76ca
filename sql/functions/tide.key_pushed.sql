CREATE OR REPLACE FUNCTION tide.key_pushed(table_id integer, rows tide.pushed_row[])
    RETURNS tide.pushed_row[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format($sql$
        SELECT array_agg(ROW(r.ordinal, r.table_id, r.op, r.base, hashtextextended(k.row_key, r.table_id), k.row_key, r.key, r.payload, r.columns)::tide.pushed_row)
          FROM unnest($1) AS r LEFT JOIN tide.push_%s_keys($1) AS k ON k.ordinal = r.ordinal$sql$, table_id)
       INTO rows USING rows;
    RETURN rows;
END;
$$;
COMMENT ON FUNCTION tide.key_pushed(integer, tide.pushed_row[]) IS 'Gives pushed rows of one table their row_key and key_hash; NULL where a key is not canonical. Internal.';
