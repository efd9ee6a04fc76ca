-- The transition tables are named inserted, updated / before, deleted. Aliases begin with tide_:
-- a column of the same name would be taken for the row. Statements that read rows
-- back take order_id (drawn before the statement) and nested (something was captured meanwhile).
CREATE OR REPLACE FUNCTION tide.capture_statement(
    table_id integer, event text, order_id text DEFAULT '$1', nested text DEFAULT '$2'
)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = capture_statement.table_id);
    n          record;
    o          record;
    v_deps     text;
    v_c_deps   text;
    v_always   text := 'current_setting(''tide.capture_equal'', true) = ''on''';
BEGIN
    SELECT * INTO n FROM tide.row_expressions(table_id, 'tide_n');
    SELECT * INTO o FROM tide.row_expressions(table_id, 'tide_o');
    IF tide.needs_read_back(v_relation) THEN
        RETURN tide.capture_read_back_statement(table_id, event, order_id, nested);
    END IF;
    IF n.deps IS NOT NULL THEN
        v_deps := ', deps, old_deps';
        v_c_deps := ', c.deps, c.old_deps';
    END IF;

    CASE event
        WHEN 'INSERT' THEN
            RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, buckets, payload%5$s)
        SELECT %1$s, 'I', c.row_key, hashtextextended(c.row_key, %1$s), c.buckets, c.payload%6$s
          FROM (SELECT %2$s AS row_key, %3$s AS buckets, %4$s AS payload%7$s FROM inserted AS tide_n) AS c$sql$,
                table_id, n.row_key, n.captured_buckets, n.payload,
                CASE WHEN n.deps IS NOT NULL THEN ', deps' END, CASE WHEN n.deps IS NOT NULL THEN ', c.deps' END, ', ' || n.deps || ' AS deps');
        WHEN 'DELETE' THEN
            RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, old_buckets%4$s)
        SELECT %1$s, 'D', c.row_key, hashtextextended(c.row_key, %1$s), c.old_buckets%5$s
          FROM (SELECT %2$s AS row_key, %3$s AS old_buckets%6$s FROM deleted AS tide_o) AS c$sql$,
                table_id, o.row_key, o.captured_buckets,
                CASE WHEN o.deps IS NOT NULL THEN ', old_deps' END, CASE WHEN o.deps IS NOT NULL THEN ', c.old_deps' END, ', ' || o.deps || ' AS old_deps');
        WHEN 'UPDATE ONE' THEN
            RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, buckets, old_buckets, payload%7$s)
        SELECT %1$s, 'U', c.row_key, hashtextextended(c.row_key, %1$s), c.buckets, c.old_buckets, c.payload%8$s
          FROM (SELECT %2$s AS row_key, %3$s AS buckets, %4$s AS old_buckets, %5$s AS payload%9$s
                  FROM before AS tide_o, updated AS tide_n
                 WHERE %6$s) AS c$sql$,
                table_id, n.row_key, n.captured_buckets, o.captured_buckets, n.payload,
                format('%s *= %s AND (%s *<> %s OR %s)', o.key_image, n.key_image, o.image, n.image, v_always),
                v_deps, v_c_deps, ', ' || n.deps || ' AS deps, ' || o.deps || ' AS old_deps');
        WHEN 'UPDATE' THEN
            -- Images are paired by key: a key that changed is a row that left and one that came.
            -- A FULL JOIN is never planned as a nested loop, whatever the size of the first update.
            RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, buckets, old_buckets, payload%10$s)
        SELECT %1$s, c.op, c.row_key, hashtextextended(c.row_key, %1$s), c.buckets, c.old_buckets, c.payload%11$s
          FROM (SELECT CASE WHEN o.row_key IS NULL THEN 'I' WHEN n.row_key IS NULL THEN 'D' ELSE 'U' END AS op,
                       coalesce(n.row_key, o.row_key) AS row_key, n.buckets, o.old_buckets, n.payload%12$s
                  FROM (SELECT %2$s COLLATE "C" AS row_key, %3$s AS buckets, %5$s AS payload, %8$s AS image%13$s FROM updated AS tide_n) AS n
                  FULL JOIN (SELECT %6$s COLLATE "C" AS row_key, %4$s AS old_buckets, %9$s AS image%14$s FROM before AS tide_o) AS o
                    ON o.row_key = n.row_key
                 WHERE n.row_key IS NULL OR o.row_key IS NULL OR %7$s) AS c$sql$,
                table_id, n.row_key, n.captured_buckets, o.captured_buckets, n.payload, o.row_key,
                '(o.image *<> n.image OR ' || v_always || ')', n.image, o.image,
                v_deps, v_c_deps, CASE WHEN n.deps IS NOT NULL THEN ', n.deps, o.old_deps' END, ', ' || n.deps || ' AS deps', ', ' || o.deps || ' AS old_deps');
        ELSE
            RAISE EXCEPTION 'event % has no capture statement', event USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END;
$$;
COMMENT ON FUNCTION tide.capture_statement(integer, text, text, text) IS 'The INSERT that captures one event of a synced table from its transition tables. Raises TD012. Internal.';
