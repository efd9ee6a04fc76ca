CREATE OR REPLACE FUNCTION tide.rebucket(table_name regclass, filter text DEFAULT 'true')
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table tide.synced_table := tide.registered_table(table_name);
    v_key   text := (tide.row_expressions(v_table.table_id, 'tide_n')).row_key;
    v_count bigint;
BEGIN
    IF NOT v_table.derived THEN
        RAISE EXCEPTION 'buckets of table % hang on nothing but the row', table_name
            USING ERRCODE = 'TD022', HINT = 'They are judged when the row is written: update the rows, or register the table again.';
    END IF;
    EXECUTE format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash)
        SELECT %1$s, 'R', k.row_key, hashtextextended(k.row_key, %1$s)
          FROM (SELECT %2$s AS row_key FROM (SELECT * FROM %3$s WHERE %4$s) AS tide_n) AS k$sql$, v_table.table_id, v_key, table_name, filter);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END;
$$;
COMMENT ON FUNCTION tide.rebucket(regclass, text) IS
'Has the next seal judge the buckets of rows again, of all or of those that a condition over their columns names: SELECT tide.rebucket(''app.task'', ''team_id = 7''). Needed only after a rule looks at something that was not declared. Returns the number of rows. Raises TD009, TD022.';
