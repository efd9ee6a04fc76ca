-- Runs on the snapshot of the statement that calls it, which is the seal's: that is why it is STABLE
-- and writes nothing.
CREATE OR REPLACE FUNCTION tide.judge_rules(
    changes tide.rule_change[], whole integer[], whole_ops text[], only_table integer DEFAULT NULL,
    OUT table_id integer, OUT judged tide.judged_row, OUT error text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = on SET enable_nestloop = on SET plan_cache_mode = auto SET jit = off
    -- Behind an ALTER TABLE all sealing would wait; the next seal tries again instead.
    SET lock_timeout = '200ms'
AS $$
#variable_conflict use_column
DECLARE
    v_max     bigint := (SELECT s.adoption_max_rows FROM tide.setting AS s);
    v_known   boolean := EXISTS (SELECT FROM tide.bucket_floor);
    v_rows    bigint;
    v_judged  record;
    v_changes tide.rule_change[];
    n         record;
BEGIN
    FOR v_judged IN
        SELECT s.table_id AS id, s.relation, whole_ops[array_position(whole, s.table_id)] AS mark
          FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation
         WHERE s.derived AND s.unregistered_at IS NULL AND (only_table IS NULL OR s.table_id = only_table)
           AND (s.table_id = ANY (whole)
                OR s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id IN (SELECT g.table_id FROM unnest(changes) AS g)))
         ORDER BY s.table_id
    LOOP
        table_id := v_judged.id;
        BEGIN
            IF v_judged.mark IS NULL THEN
                EXECUTE format($sql$SELECT array_agg(ROW(%1$s, a.last_change_id, g.op, a.row_key, NULL, NULL)::tide.rule_change)
                                      FROM tide.affected_%1$s($1) AS a
                                      LEFT JOIN (SELECT DISTINCT c.row_key, c.op FROM unnest($1) AS c WHERE c.table_id = %1$s AND c.op = 'A') AS g ON g.row_key = a.row_key$sql$,
                    v_judged.id) INTO v_changes USING changes;
                RETURN QUERY SELECT v_judged.id, j, NULL::text FROM unnest(tide.judge_rows(v_judged.id, v_changes)) AS j;
            ELSE
                -- The whole table. Devices get the rows where they are few and none was missed.
                PERFORM tide.assert_readable(v_judged.relation);
                SELECT * INTO n FROM tide.row_expressions(v_judged.id, 'tide_n');
                v_rows := v_max + 1;
                IF v_known AND v_judged.mark = 'A' THEN
                    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT %s) AS few', v_judged.relation, v_max + 1) INTO v_rows;
                END IF;
                FOR v_changes IN EXECUTE format($sql$
                    SELECT array_agg(ROW(%1$s, NULL, $1, k.row_key, NULL, NULL)::tide.rule_change)
                      FROM (SELECT u.row_key, (row_number() OVER () - 1) / 10000 AS batch
                              FROM (SELECT %2$s COLLATE "C" AS row_key FROM %3$s AS tide_n UNION SELECT m.row_key FROM tide.membership AS m WHERE m.table_id = %1$s) AS u) AS k
                     GROUP BY k.batch$sql$, v_judged.id, n.row_key, v_judged.relation) USING CASE WHEN v_rows <= v_max THEN 'A' ELSE '!' END::"char"
                LOOP
                    RETURN QUERY SELECT v_judged.id, j, NULL::text FROM unnest(tide.judge_rows(v_judged.id, v_changes)) AS j;
                END LOOP;
            END IF;
        EXCEPTION
            WHEN OTHERS THEN
                IF sqlstate ~ '^(40|53|57)' THEN
                    RAISE;
                END IF;
                judged := NULL;
                error := format('%s (%s)', sqlerrm, sqlstate);
                RETURN NEXT;
                error := NULL;
        END;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.judge_rules(tide.rule_change[], integer[], text[], integer) IS 'Rows of tables with derived rules that changes of a seal touch, directly or through other tables, and all rows of whole ones: buckets as stored and as they are now. A row with error where a table could not be judged. Internal.';
