-- What the seal of this very snapshot does to tide.membership, worked out again: a snapshot that was
-- exported for that seal does not show what it wrote. A cursor calls it while it is fetched, when the
-- function that opened it, and its rights, are long gone.
CREATE OR REPLACE FUNCTION tide.pending_moves(table_id integer)
    RETURNS SETOF tide.judged_row
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_nestloop = on SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    v_snap    pg_snapshot := (SELECT s.snap FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1);
    v_changes tide.rule_change[];
    v_mark    "char";
    v_marks   tide.table_mark[];
    v_whole   boolean;
    v_judged  record;
BEGIN
    v_marks := tide.tables_to_judge(v_snap);
    v_whole := EXISTS (SELECT FROM unnest(v_marks) AS m WHERE m.table_id = pending_moves.table_id);
    SELECT array_agg(ROW(c.table_id, NULL, c.op, c.row_key, c.deps, c.old_deps)::tide.rule_change) FILTER (WHERE c.op IN ('I', 'U', 'D', 'R') AND NOT v_whole),
           max(c.op::text) FILTER (WHERE c.table_id = pending_moves.table_id AND c.op IN ('A', '!'))
      INTO v_changes, v_mark
      FROM tide.sealable_ranges(v_snap) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
     WHERE c.table_id IN (SELECT b.source_id FROM tide.bucket_source AS b WHERE b.table_id = pending_moves.table_id);
    -- While capture is paused nobody knows what changed, and other tables are read as they are.
    IF v_whole OR EXISTS (SELECT FROM tide.setting AS s WHERE s.paused_at IS NOT NULL) THEN
        v_mark := '!';
    END IF;
    IF v_changes IS NULL AND v_mark IS NULL THEN
        RETURN;
    END IF;
    FOR v_judged IN SELECT * FROM tide.judge_rules(v_changes, CASE WHEN v_mark IS NOT NULL THEN ARRAY[table_id] END, ARRAY['!'], table_id) LOOP
        IF v_judged.error IS NOT NULL THEN
            RAISE EXCEPTION 'buckets of a table cannot be judged now'
                USING ERRCODE = 'TD126', DETAIL = v_judged.error, HINT = 'Try again; SELECT * FROM tide.check() says more.';
        END IF;
        RETURN NEXT ROW(v_judged.row_key, v_judged.key_hash, v_judged.last_change_id, v_judged.op, v_judged.before, v_judged.after, v_judged.payload, v_judged.row_error)::tide.judged_row;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.pending_moves(integer) IS 'Rows of a table with derived rules that changed, or hang on what changed, since the last seal that this snapshot shows, and all of them while capture is paused: buckets as stored and as they are. Raises TD126. Internal.';
