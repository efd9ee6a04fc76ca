-- Both are given changes of a seal as $1. The text of a key needs its columns alone. What rows have of
-- a parent is worked out once for all that have the same one: max() finds the one value of them all.
CREATE OR REPLACE FUNCTION tide.bucket_queries(table_id integer, OUT affected text, OUT judged text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = bucket_queries.table_id);
    v_deleted  text := tide.deleted_expression(table_id, 'tide_n');
    v_own      text := tide.own_buckets(table_id, 'tide_n');
    v_rows     text;
    v_all      text[] := CASE WHEN v_own IS NOT NULL THEN '{j.tide_own}' ELSE '{}' END::text[];
    v_columns  text[];
    n          record;
    k          record;
    p          record;
BEGIN
    SELECT * INTO n FROM tide.row_expressions(table_id, 'tide_n');
    SELECT string_agg(format('tide_a.tide_k%s AS %I', c.ordinal, c.current_name), ', ' ORDER BY c.ordinal) AS names,
           string_agg(format('tide_n.%I OPERATOR(%s) %s', c.current_name, c.equality, c.value), ' AND ') AS found
      INTO k
      FROM tide.key_columns(table_id, 'g.row_key') AS c;
    affected := format($sql$
    WITH given AS MATERIALIZED (SELECT * FROM unnest($1))
    SELECT k.row_key, max(k.last_change_id)
      FROM (SELECT %1$s AS row_key, tide_n.last_change_id FROM (SELECT %2$s, tide_a.last_change_id FROM (%3$s) AS tide_a) AS tide_n) AS k
     GROUP BY k.row_key$sql$, n.row_key, k.names, tide.affected_source(table_id));

    WITH parent AS MATERIALIZED (
        SELECT b.buckets, b.fk_columns, b.ordinal FROM tide.parent_buckets(table_id, 'tide_n', 1, true) WITH ORDINALITY AS b (fk_columns, buckets, ordinal))
    SELECT array_agg(r.buckets ORDER BY r.ordinal) AS buckets,
           array_agg((SELECT string_agg(format('tide_n.%I', f), ', ') FROM unnest(r.fk_columns) AS f) ORDER BY r.ordinal) AS columns,
           (SELECT array_agg(DISTINCT f) FROM parent AS a CROSS JOIN LATERAL unnest(a.fk_columns) AS f) AS all_columns
      INTO p
      FROM parent AS r;
    v_columns := array_remove(ARRAY[CASE WHEN v_deleted IS NULL OR v_own IS NULL THEN v_own ELSE format('CASE WHEN (%s) IS NOT TRUE THEN %s END', v_deleted, v_own) END || ' AS tide_own'], NULL)
        || ARRAY(SELECT format(CASE WHEN v_deleted IS NULL THEN 'tide_n.%1$I' ELSE 'CASE WHEN (%2$s) IS NOT TRUE THEN tide_n.%1$I END AS %1$I' END, f, v_deleted) FROM unnest(p.all_columns) AS f);
    v_rows := format('SELECT g.row_key AS tide_key, g.last_change_id AS tide_last, g.op AS tide_op, tide_r.* FROM unnest($1) AS g LEFT JOIN LATERAL (SELECT %s FROM %s AS tide_n WHERE %s OFFSET 0) AS tide_r ON true',
        array_to_string(v_columns, ', '), v_relation, k.found);
    FOR i IN 1 .. coalesce(cardinality(p.buckets), 0) LOOP
        v_all := v_all || format('j.tide_of%s', i);
        v_rows := format('SELECT tide_n.*, max(tide_n.tide_one%1$s) OVER (PARTITION BY %2$s) AS tide_of%1$s FROM (SELECT tide_n.*, CASE WHEN row_number() OVER (PARTITION BY %2$s) = 1 THEN %3$s END AS tide_one%1$s FROM (%4$s) AS tide_n) AS tide_n',
            i, p.columns[i], p.buckets[i], v_rows);
    END LOOP;
    judged := format($sql$
    SELECT j.tide_key, h.key_hash, j.tide_last, j.tide_op, b.before, a.after,
           CASE WHEN a.after <> '{}' AND (j.tide_op = 'A' OR a.after <> b.before) THEN (SELECT %3$s FROM %4$s AS tide_n WHERE %5$s) END, NULL::text
      FROM (%2$s) AS j
     CROSS JOIN LATERAL (SELECT hashtextextended(j.tide_key, %1$s) AS key_hash OFFSET 0) AS h
     CROSS JOIN LATERAL (
               SELECT ARRAY(SELECT m.bucket_id::text FROM tide.membership AS m
                             WHERE m.table_id = %1$s AND m.key_hash = h.key_hash AND m.row_key = j.tide_key COLLATE "C" ORDER BY m.bucket_id) AS before OFFSET 0) AS b
     CROSS JOIN LATERAL (SELECT %6$s AS buckets OFFSET 0) AS u
     -- One bucket is the rule, and a call for each row would be felt.
     CROSS JOIN LATERAL (SELECT CASE WHEN cardinality(u.buckets) = 1 AND octet_length(u.buckets[1]) BETWEEN 1 AND 512 THEN u.buckets
                                     ELSE coalesce(tide.function_buckets(u.buckets), '{}') END AS after OFFSET 0) AS a$sql$,
        table_id, v_rows, n.payload, v_relation, replace(k.found, 'g.row_key', 'j.tide_key'), coalesce(nullif(array_to_string(v_all, ' || '), ''), 'NULL::text[]'));
END;
$$;
COMMENT ON FUNCTION tide.bucket_queries(integer) IS 'Queries for the rows of a table whose buckets may have changed, and for the buckets of rows as stored and as they are now, for the tables as they are. Raises TD012. Internal.';
