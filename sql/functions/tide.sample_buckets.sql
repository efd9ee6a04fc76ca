-- Comparing all rows reads the table; some of them tell whether something was not declared.
CREATE OR REPLACE FUNCTION tide.sample_buckets(table_id integer, max_rows integer DEFAULT 200, OUT looked_at bigint, OUT amiss bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '200ms'
AS $$
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = sample_buckets.table_id);
    -- -1 before the first ANALYZE; partitions have the rows of a partitioned table.
    v_rows     double precision := (SELECT max(c.reltuples) FROM pg_class AS c JOIN (SELECT v_relation AS oid UNION SELECT p.relid FROM pg_partition_tree(v_relation) AS p) AS t ON t.oid = c.oid);
    v_keys     tide.rule_change[];
    v_judged   tide.judged_row[];
BEGIN
    EXECUTE format($sql$
        SELECT array_agg(ROW(%1$s, NULL, NULL, k.row_key, NULL, NULL)::tide.rule_change)
          FROM ((SELECT %2$s COLLATE "C" AS row_key FROM %3$s AS tide_n %4$s LIMIT $1)
                 UNION
                (SELECT m.row_key FROM tide.membership AS m WHERE m.table_id = %1$s AND m.key_hash > $2 ORDER BY m.key_hash LIMIT $1)) AS k$sql$,
        table_id, (tide.row_expressions(table_id, 'tide_n')).row_key, v_relation,
        CASE WHEN v_rows > max_rows THEN format('TABLESAMPLE SYSTEM (%s)', least(100, greatest(300 * max_rows / v_rows, 0.001))) END)
       INTO v_keys USING max_rows, ((random() - 0.5) * 1.8e19)::bigint;
    looked_at := coalesce(cardinality(v_keys), 0);
    -- Not in the query: the planner would call it too, to estimate rows.
    v_judged := tide.judge_rows(table_id, v_keys);
    SELECT count(*) INTO amiss
      FROM unnest(v_judged) AS j
     WHERE j.before <> j.after AND j.error IS NULL AND j.row_key NOT IN (SELECT p.row_key FROM tide.pending_moves(table_id) AS p);
EXCEPTION
    -- Other findings say what is the matter with the table.
    WHEN OTHERS THEN
        IF sqlstate ~ '^(40|53|57)' THEN
            RAISE;
        END IF;
        looked_at := 0;
        amiss := 0;
END;
$$;
COMMENT ON FUNCTION tide.sample_buckets(integer, integer) IS 'Of some rows of a table with derived rules, how many lie in other buckets than the rule says. Internal.';
