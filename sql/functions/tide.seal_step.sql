-- Steps are prefixes by the transactions' largest change_id, so a step never comes before one it
-- depends on. All steps but the last seal what the first one saw, under its snapshot; the last one
-- (step IS NULL) catches up with the present and is an ordinary seal again.
CREATE OR REPLACE FUNCTION tide.seal_step(
    complete tide.seal_log, previous tide.seal_log, drawn bigint,
    OUT step xid8[], OUT cut bigint, OUT snap pg_snapshot
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_max  bigint := (SELECT s.seal_max_changes FROM tide.setting AS s);
    v_from bigint := previous.cut_change_id;
BEGIN
    cut := coalesce(v_from, complete.last_change_id);
    WHILE step IS NULL AND cut IS NOT NULL LOOP
        cut := cut + v_max;
        IF cut >= drawn THEN
            cut := NULL;
        ELSE
            SELECT array_agg(x.xid), coalesce(CASE WHEN v_from IS NOT NULL THEN previous.snap END, pg_current_snapshot())
              INTO step, snap
              FROM (SELECT DISTINCT c.xid
                      FROM tide.sealable_ranges(complete.snap) AS r
                      JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
                     -- Not what an earlier step wrote about transactions that it sealed: images of rows.
                     WHERE c.change_id > coalesce(v_from, 0) AND c.change_id <= cut AND (c.key_hash IS NULL OR c.op NOT IN ('A', 'M'))) AS x
             WHERE (v_from IS NULL OR pg_visible_in_snapshot(x.xid, previous.snap))
               AND (SELECT max(l.change_id) FROM tide.change_log AS l WHERE l.xid = x.xid) <= cut;
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.seal_step(tide.seal_log, tide.seal_log, bigint) IS 'Transactions of the next step of a long seal, NULL for the last one. Internal.';
