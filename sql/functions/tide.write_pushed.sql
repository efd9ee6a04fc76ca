-- Deletes come first and free what inserts may need, or last, when they would cascade to rows that
-- move away; children go before parents and come after them.
CREATE OR REPLACE FUNCTION tide.write_pushed(rows tide.pushed_row[], user_id text, deletes_first boolean DEFAULT true)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_group record;
BEGIN
    -- Most pushes are of one row, which has nothing to be ordered by.
    IF cardinality(rows) = 1 THEN
        PERFORM tide.run_push_step((rows[1]).table_id, (rows[1]).rls, (rows[1]).op, rows, user_id);
    ELSE
        FOR v_group IN
            SELECT * FROM tide.push_groups(rows, true) AS g
             ORDER BY CASE g.op WHEN 'D' THEN CASE WHEN deletes_first THEN 1 ELSE 4 END WHEN 'I' THEN 2 ELSE 3 END, CASE g.op WHEN 'D' THEN -g.fk_depth ELSE g.fk_depth END, g.table_id
        LOOP
            PERFORM tide.run_push_step(v_group.table_id, v_group.rls, v_group.op, v_group.rows, user_id);
        END LOOP;
    END IF;
    SET CONSTRAINTS ALL IMMEDIATE;
END;
$$;
COMMENT ON FUNCTION tide.write_pushed(tide.pushed_row[], text, boolean) IS 'Writes the rows of a push, all or none. Internal.';
