-- Locking comes first and judging in a later statement, so that it sees what those had committed for
-- whom locking waited.
CREATE OR REPLACE FUNCTION tide.find_conflicts(rows tide.pushed_row[], user_id text, source_id text, OUT conflicts json, OUT rejected json, OUT unsealed boolean, OUT revived bigint[])
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role   text := current_setting('role');
    v_live   bigint[];
    v_dead   boolean[];
    v_judged json;
    v_found  tide.pushed_row[];
    v_images json[] := '{}';
    v_more   json;
    v_group  record;
BEGIN
    SELECT coalesce(array_agg(l.ordinal), '{}'), coalesce(array_agg(l.dead), '{}') INTO v_live, v_dead FROM tide.lock_pushed(rows, user_id) AS l;
    SELECT json_agg(j) INTO v_judged FROM tide.judge_push(user_id, rows, v_live, v_dead) AS j;
    IF v_judged IS NULL THEN
        SELECT array_agg(l.ordinal) INTO revived FROM unnest(v_live, v_dead) AS l (ordinal, dead) WHERE l.dead;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM json_to_recordset(v_judged) AS j (pruned boolean) WHERE j.pruned) THEN
        RAISE EXCEPTION 'the log no longer tells what happened to these rows since then'
            USING ERRCODE = 'TD014',
                  DETAIL  = (SELECT format('Rows %s.', string_agg(j.ordinal::text, ', ')) FROM json_to_recordset(v_judged) AS j (ordinal bigint, pruned boolean) WHERE j.pruned),
                  HINT    = 'Take a snapshot, and make the changes again upon it.';
    END IF;
    SELECT array_agg(r) INTO v_found FROM unnest(rows) AS r WHERE r.ordinal IN (SELECT j.ordinal FROM json_to_recordset(v_judged) AS j (ordinal bigint));
    FOR v_group IN SELECT * FROM tide.push_groups(v_found, false) LOOP
        IF v_group.rls THEN
            PERFORM set_config('role', tide.client_role(), true);
        END IF;
        EXECUTE format('SELECT json_agg(i) FROM tide.push_%s_image($1, $2) AS i WHERE NOT i.dead', v_group.table_id) INTO v_more USING v_group.rows, user_id;
        IF v_group.rls THEN
            PERFORM set_config('role', v_role, true);
        END IF;
        v_images := v_images || ARRAY(SELECT e FROM json_array_elements(v_more) AS e);
    END LOOP;
    -- Seen, but not locked: the policies let it be read, not written.
    SELECT json_agg(tide.rejection_body(r, '42501', 'the row may be read, not written') ORDER BY r.ordinal)
      INTO rejected
      FROM unnest(v_found) AS r JOIN unnest(v_images) AS i ON (i ->> 'ordinal')::bigint = r.ordinal
     WHERE r.ordinal <> ALL (coalesce(v_live, '{}'));
    IF rejected IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT b.conflicts, b.unsealed INTO conflicts, unsealed FROM tide.conflict_bodies(user_id, source_id, v_found, v_judged, v_images) AS b;
END;
$$;
COMMENT ON FUNCTION tide.find_conflicts(tide.pushed_row[], text, text) IS 'Locks the rows of a push and judges them. Conflicts, or rows that the caller may only read, as the wire has them, NULL for none; unsealed when one has no version yet; revived are rows to be inserted that are there, deleted softly. Raises TD014, TD126. Internal.';
