-- Runs on the snapshot of the statement that calls it, which is the seal's: that is why it is STABLE
-- and writes nothing.
CREATE OR REPLACE FUNCTION tide.judge_rules(
    changes tide.rule_change[], whole integer[], whole_ops text[], only_table integer DEFAULT NULL,
    OUT table_id integer, OUT row_key text, OUT key_hash bigint, OUT last_change_id bigint, OUT op "char", OUT before text[], OUT after text[], OUT payload json,
    OUT row_error text, OUT error text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = on SET enable_nestloop = on SET plan_cache_mode = auto SET jit = off
    -- Groups one after the other, not all at once.
    SET enable_hashagg = off
    -- Behind an ALTER TABLE all sealing would wait; the next seal tries again instead.
    SET lock_timeout = '200ms'
AS $$
#variable_conflict use_column
DECLARE
    v_max     bigint := (SELECT s.adoption_max_rows FROM tide.setting AS s);
    v_known   boolean := EXISTS (SELECT FROM tide.bucket_floor);
    v_judged  record;
    v_changes tide.rule_change[];
    v_rows    tide.judged_row[];
    v_whole   boolean;
    v_keys    text;
BEGIN
    FOR v_judged IN
        SELECT s.table_id AS id, s.relation, whole_ops[array_position(whole, s.table_id)]::"char" AS mark
          FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation
         WHERE s.derived AND s.unregistered_at IS NULL AND (only_table IS NULL OR s.table_id = only_table)
           AND (s.table_id = ANY (whole)
                OR s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id IN (SELECT g.table_id FROM unnest(changes) AS g)))
         ORDER BY s.table_id
    LOOP
        table_id := v_judged.id;
        BEGIN
            v_whole := v_judged.mark IS NOT NULL;
            IF v_whole THEN
                PERFORM tide.assert_sources(v_judged.id);
            END IF;
            IF v_judged.mark = 'A' THEN
                -- Devices get the rows where they are few and none was missed.
                EXECUTE format('SELECT CASE WHEN $1 AND count(*) <= $2 THEN ''A'' ELSE ''!'' END FROM (SELECT FROM %s LIMIT $2 + 1) AS few', v_judged.relation)
                   INTO v_judged.mark USING v_known, v_max;
            END IF;
            LOOP
                BEGIN
                    v_keys := format('SELECT * FROM tide.affected_%s($1)', v_judged.id);
                    IF v_whole THEN
                        v_keys := format('SELECT a.row_key, CASE WHEN $2 IS NULL THEN $3 END AS last_change_id FROM (SELECT %s COLLATE "C" AS row_key FROM %s AS tide_n UNION SELECT m.row_key FROM tide.membership AS m WHERE m.table_id = %s) AS a',
                                         (tide.row_expressions(v_judged.id, 'tide_n')).row_key, v_judged.relation, v_judged.id);
                    END IF;
                    -- In pieces, because no value may be larger than a gigabyte.
                    FOR v_changes IN EXECUTE format($sql$
                        SELECT array_agg(ROW(%1$s, k.last_change_id, k.op, k.row_key, NULL, NULL)::tide.rule_change)
                          FROM (SELECT u.row_key, u.last_change_id, coalesce($2, c.op) AS op, (row_number() OVER () - 1) / 10000 AS piece
                                  FROM (%2$s) AS u
                                  LEFT JOIN (SELECT DISTINCT c.row_key, c.op FROM unnest($1) AS c WHERE c.table_id = %1$s AND c.op = 'A') AS c ON c.row_key = u.row_key) AS k
                         GROUP BY k.piece$sql$, v_judged.id, v_keys)
                        USING changes, v_judged.mark, (SELECT max(c.last_change_id) FROM unnest(changes) AS c JOIN tide.bucket_source AS b ON b.source_id = c.table_id WHERE b.table_id = v_judged.id)
                    LOOP
                        -- Not in the query: the planner would call it too, to estimate rows.
                        v_rows := tide.judge_rows(v_judged.id, v_changes);
                        RETURN QUERY SELECT v_judged.id, j.*, NULL::text FROM unnest(v_rows) AS j;
                    END LOOP;
                    EXIT;
                EXCEPTION
                    WHEN OTHERS THEN
                        IF v_whole OR sqlstate ~ '^(40|53|55|57|TD011)' THEN
                            RAISE;
                        END IF;
                        -- Which rows a change reaches cannot be told, so it may be any.
                        v_whole := true;
                        RETURN QUERY SELECT v_judged.id, '*', 0::bigint, NULL::bigint, NULL::"char", '{}'::text[], '{}'::text[], NULL::json, format('%s (%s)', sqlerrm, sqlstate), NULL::text;
                END;
            END LOOP;
        EXCEPTION
            WHEN SQLSTATE 'TD012' THEN
                -- Nobody knows any more whose its rows are.
                RETURN QUERY SELECT v_judged.id, m.row_key, m.key_hash, (SELECT max(c.last_change_id) FROM unnest(changes) AS c), NULL::"char", array_agg(m.bucket_id::text ORDER BY m.bucket_id), '{}'::text[], NULL::json, sqlerrm, NULL::text
                               FROM tide.membership AS m WHERE m.table_id = v_judged.id GROUP BY m.row_key, m.key_hash;
            WHEN OTHERS THEN
                IF sqlstate ~ '^(40|53|57)' THEN
                    RAISE;
                END IF;
                error := format('%s (%s)', sqlerrm, sqlstate);
                RETURN NEXT;
                error := NULL;
        END;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.judge_rules(tide.rule_change[], integer[], text[], integer) IS 'Rows of tables with derived rules that changes of a seal touch, directly or through other tables, and all rows of whole ones: buckets as stored and as they are now. A row with error where a table could not be judged. Internal.';
