-- The row is read as it is now, in the transaction that just wrote it, so the last capture of a
-- transaction always has its last state. Where it came from is what its earliest image says: the
-- nth row of before became the nth row of updated.
-- Of a key that the statement took away and that is there again, another part of the same statement
-- has the insert: captured before this, where a WITH is run to its end after what it belongs to, or
-- to be captured after it. What is captured here comes before that insert, and after all else.
CREATE OR REPLACE FUNCTION tide.capture_read_back_statement(table_id integer, event text, order_id text, nested text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = capture_read_back_statement.table_id);
    n          record;
    o          record;
    v_keys     text;
    v_join     text;
    v_touched  text;
BEGIN
    SELECT * INTO n FROM tide.row_expressions(table_id, 'tide_n');
    SELECT * INTO o FROM tide.row_expressions(table_id, 'tide_o');
    SELECT string_agg(format('%%1$s.%I AS tide_k%s', k.column_name, k.ordinal), ', '),
           string_agg(format('tide_n.%I OPERATOR(%s) t.tide_k%s', k.column_name, k.equality, k.ordinal), ' AND ')
      INTO v_keys, v_join
      FROM tide.key_equality(table_id) WITH ORDINALITY AS k (column_name, equality, ordinal);

    v_touched := CASE event
        WHEN 'INSERT' THEN
            format('SELECT %s AS row_key, NULL::text[] AS old_buckets, NULL::json AS old_deps, NULL::record AS image, false AS old, row_number() OVER () AS ordinal, %s FROM inserted AS tide_n', n.row_key, format(v_keys, 'tide_n'))
        WHEN 'DELETE' THEN
            format('SELECT %s AS row_key, %s AS old_buckets, %s AS old_deps, NULL::record AS image, true AS old, row_number() OVER () AS ordinal, %s FROM deleted AS tide_o', o.row_key, o.captured_buckets, coalesce(o.deps, 'NULL::json'), format(v_keys, 'tide_o'))
        ELSE
            format('SELECT %s AS row_key, %s AS old_buckets, %s AS old_deps, %s AS image, true AS old, row_number() OVER () AS ordinal, %s FROM before AS tide_o', o.row_key, o.captured_buckets, coalesce(o.deps, 'NULL::json'), o.image, format(v_keys, 'tide_o'))
            || ' UNION ALL ' ||
            format('SELECT %s, NULL, NULL, NULL, false, row_number() OVER (), %s FROM updated AS tide_n', n.row_key, format(v_keys, 'tide_n'))
        END;
    RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, buckets, old_buckets, payload, deps, old_deps, order_id)
          WITH touched AS MATERIALIZED (
                SELECT CASE WHEN tide_n.tableoid IS NULL THEN 'D' WHEN t.old THEN 'U' ELSE 'I' END AS op, t.row_key,
                       CASE WHEN tide_n.tableoid IS NOT NULL THEN %3$s END AS buckets, t.old_buckets,
                       CASE WHEN tide_n.tableoid IS NOT NULL THEN %4$s END AS payload,
                       CASE WHEN tide_n.tableoid IS NOT NULL THEN %11$s END AS deps, t.old_deps,
                       tide_n.tableoid IS NOT NULL AND NOT t.came AS again, t.ordinal
                  FROM (SELECT DISTINCT ON (i.row_key) i.*, bool_or(NOT i.old) OVER (PARTITION BY i.row_key) AS came
                          FROM (%5$s) AS i ORDER BY i.row_key, i.ordinal, i.old DESC) AS t
                  LEFT JOIN %6$s AS tide_n ON %7$s AND %2$s = t.row_key
                 WHERE t.image IS NULL OR tide_n.tableoid IS NULL OR NOT t.came OR %9$s OR t.image *<> %10$s
                       OR current_setting('tide.capture_equal', true) = 'on')
        SELECT %1$s, c.op, c.row_key, hashtextextended(c.row_key, %1$s), c.buckets, c.old_buckets, c.payload, c.deps, c.old_deps,
               least(%8$s, CASE WHEN c.again THEN coalesce(l.order_id - (l.image IS NOT DISTINCT FROM coalesce(c.payload, c.deps)::text)::integer, 0) END)
          FROM touched AS c
          LEFT JOIN (SELECT k.* FROM tide.captured_orders(%1$s) AS k WHERE (SELECT bool_or(a.again) FROM touched AS a)) AS l
            ON c.again AND l.row_key = c.row_key
         ORDER BY c.ordinal$sql$,
        table_id, n.row_key, n.captured_buckets, n.payload, v_touched, v_relation, v_join, order_id, nested, n.image, coalesce(n.deps, 'NULL::json'));
END;
$$;
COMMENT ON FUNCTION tide.capture_read_back_statement(integer, text, text, text) IS 'The same as tide.capture_statement for tables whose triggers may change a row again within one statement. Internal.';
