-- All at once; when that raises, in parts, and so on, so that a row whose rule raises hurts no other. In
-- eight parts, not two: where all raise, most of the work is single rows. A lock that somebody holds on a table, and rows that a policy hides, are no failure of the rule.
CREATE OR REPLACE FUNCTION tide.judge_rows(table_id integer, changes tide.rule_change[], apart boolean DEFAULT false)
    RETURNS tide.judged_row[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_part   integer := (cardinality(changes) + 7) / 8;
    v_judged tide.judged_row[];
    v_error  text;
BEGIN
    BEGIN
        EXECUTE format('SELECT array_agg(b) FROM tide.buckets_%s($1) AS b', table_id) INTO v_judged USING changes;
        RETURN v_judged;
    EXCEPTION
        WHEN OTHERS THEN
            IF sqlstate ~ '^(40|53|55|57|TD011)' THEN
                RAISE;
            END IF;
            v_error := format('%s (%s)', sqlerrm, sqlstate);
    END;
    IF cardinality(changes) = 1 THEN
        RETURN ARRAY[tide.failed_row(table_id, changes[1], v_error)];
    END IF;
    IF NOT apart AND EXISTS (SELECT FROM tide.synced_table AS s
                              WHERE s.table_id = judge_rows.table_id AND s.parents <> '{}' AND num_nonnulls(s.bucket, s.owner_column, s.bucket_function, s.deleted_at_column) = 0) THEN
        RETURN tide.judge_by_parents(table_id, changes);
    END IF;
    FOR v_from IN 1 .. cardinality(changes) BY v_part LOOP
        v_judged := v_judged || tide.judge_rows(table_id, changes[v_from : v_from + v_part - 1], apart);
    END LOOP;
    RETURN v_judged;
END;
$$;
COMMENT ON FUNCTION tide.judge_rows(integer, tide.rule_change[], boolean) IS 'Buckets of rows of one table, as stored and as they are now; a row whose rule raises is in none, with its error. apart: parents were looked at. Internal.';
