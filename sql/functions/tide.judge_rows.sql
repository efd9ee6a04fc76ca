-- All at once; when that raises, by halves, so that a row whose rule raises hurts no other. A lock
-- that somebody holds on a table, and rows that a policy hides, are no failure of the rule.
CREATE OR REPLACE FUNCTION tide.judge_rows(table_id integer, changes tide.rule_change[])
    RETURNS tide.judged_row[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_half   integer := cardinality(changes) / 2;
    v_judged tide.judged_row[];
    v_row    tide.judged_row;
BEGIN
    BEGIN
        EXECUTE format('SELECT array_agg(b) FROM tide.buckets_%s($1) AS b', table_id) INTO v_judged USING changes;
        RETURN v_judged;
    EXCEPTION
        WHEN OTHERS THEN
            IF sqlstate ~ '^(40|53|55|57|TD011)' THEN
                RAISE;
            END IF;
            v_row.error := format('%s (%s)', sqlerrm, sqlstate);
    END;
    IF v_half > 0 THEN
        RETURN tide.judge_rows(table_id, changes[1 : v_half]) || tide.judge_rows(table_id, changes[v_half + 1 : ]);
    END IF;
    v_row.row_key := changes[1].row_key;
    v_row.key_hash := hashtextextended(v_row.row_key, table_id);
    v_row.last_change_id := changes[1].last_change_id;
    v_row.op := changes[1].op;
    v_row.before := ARRAY(
        SELECT m.bucket_id::text FROM tide.membership AS m
         WHERE m.table_id = judge_rows.table_id AND m.key_hash = v_row.key_hash AND m.row_key = v_row.row_key COLLATE "C" ORDER BY m.bucket_id);
    v_row.after := '{}';
    RETURN ARRAY[v_row];
END;
$$;
COMMENT ON FUNCTION tide.judge_rows(integer, tide.rule_change[]) IS 'Buckets of rows of one table, as stored and as they are now; a row whose rule raises is in none, with its error. Internal.';
