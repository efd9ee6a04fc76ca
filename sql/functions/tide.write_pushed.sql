-- Deletes come first and free what inserts may need, or last, when they would cascade to rows that
-- move away; children go before parents and come after them.
CREATE OR REPLACE FUNCTION tide.write_pushed(rows tide.pushed_row[], user_id text, deletes_first boolean DEFAULT true)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_group   record;
    v_written bigint;
BEGIN
    FOR v_group IN
        SELECT * FROM tide.push_groups(rows, true) AS g
         ORDER BY CASE g.op WHEN 'D' THEN CASE WHEN deletes_first THEN 1 ELSE 4 END WHEN 'I' THEN 2 ELSE 3 END, CASE g.op WHEN 'D' THEN -g.fk_depth ELSE g.fk_depth END, g.table_id
    LOOP
        v_written := tide.run_push_step(v_group.table_id, v_group.policy, CASE v_group.op WHEN 'I' THEN 'insert' WHEN 'U' THEN 'update' ELSE 'delete' END, v_group.rows, user_id);
        IF v_written <> cardinality(v_group.rows) THEN
            RAISE EXCEPTION 'the row may not be written so: it is not the caller''s, its payload has another key, a protected column would change, or a trigger suppressed it'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
    END LOOP;
    SET CONSTRAINTS ALL IMMEDIATE;
END;
$$;
COMMENT ON FUNCTION tide.write_pushed(tide.pushed_row[], text, boolean) IS 'Writes the rows of a push, all or none. Internal.';
