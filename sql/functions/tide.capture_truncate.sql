CREATE OR REPLACE FUNCTION tide.capture_truncate(table_id integer, relation regclass)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o record;
BEGIN
    -- TRUNCATE also takes rows that an older snapshot does not show.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM tide.mark_table(table_id, '!', 'TRUNCATE under ' || current_setting('transaction_isolation'));
        RETURN;
    END IF;
    PERFORM tide.assert_readable(relation);
    SELECT * INTO o FROM tide.row_expressions(table_id, 'tide_o');
    -- A partition with a trigger of its own captures its rows itself.
    EXECUTE format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, old_buckets, old_deps)
        SELECT %1$s, 'D', c.row_key, hashtextextended(c.row_key, %1$s), c.old_buckets, c.old_deps
          FROM (SELECT %2$s AS row_key, %3$s AS old_buckets, %5$s AS old_deps
                  FROM %4$s AS tide_o
                 WHERE tide_o.tableoid = $1
                    OR NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = tide_o.tableoid AND t.tgname = '_tide_truncate')) AS c$sql$,
        table_id, o.row_key, o.captured_buckets, relation, coalesce(o.deps, 'NULL::json')) USING relation;
END;
$$;
COMMENT ON FUNCTION tide.capture_truncate(integer, regclass) IS 'Captures every row of a table that is about to be truncated as deleted. Internal.';
