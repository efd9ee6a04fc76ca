CREATE OR REPLACE FUNCTION tide.rows_elsewhere(rows tide.pushed_row[], user_id text)
    RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
DECLARE
    -- A variable: partitions of other transactions are left out by it, and not by a function.
    v_xid      xid8 := pg_current_xact_id();
    v_mine     text[];
    v_rejected json;
BEGIN
    IF (SELECT count(*) FROM tide.change_log AS c WHERE c.xid = v_xid AND c.key_hash IS NOT NULL) < cardinality(rows) THEN
        RAISE EXCEPTION 'capture was paused meanwhile' USING ERRCODE = 'TD126', HINT = 'Try again.';
    END IF;
    IF NOT EXISTS (SELECT FROM unnest(rows) AS p WHERE p.rls) THEN
        -- Rows of their owner are in his bucket by their rule.
        RETURN NULL;
    END IF;
    v_mine := tide.push_buckets(user_id);
    SELECT json_agg(tide.rejection_body(r.pushed, 'TD103', 'the row lies in no bucket that this device knows') ORDER BY (r.pushed).ordinal)
      INTO v_rejected
      FROM (SELECT p AS pushed, p.table_id, p.row_key COLLATE "C" AS row_key FROM unnest(rows) AS p
             WHERE p.rls) AS r
      LEFT JOIN (SELECT c.table_id, c.row_key, bool_or(v_mine && c.buckets OR v_mine && c.old_buckets) AS here
                   FROM tide.change_log AS c WHERE c.xid = v_xid AND c.key_hash IS NOT NULL
                  GROUP BY c.table_id, c.row_key) AS own ON own.table_id = r.table_id AND own.row_key = r.row_key
      -- Where rules look at other tables, sealing will tell; until then this transaction foretells it.
      LEFT JOIN LATERAL (
               SELECT bool_or(v_mine && j.before OR v_mine && j.after) AS here
                 FROM tide.synced_table AS s
                CROSS JOIN LATERAL unnest(tide.judge_rows(s.table_id, ARRAY[ROW(s.table_id, NULL, NULL, r.row_key, NULL, NULL)::tide.rule_change])) AS j
                WHERE s.table_id = r.table_id AND s.derived) AS derived ON true
     WHERE own.here IS NOT TRUE AND derived.here IS NOT TRUE;
    RETURN v_rejected;
END;
$$;
COMMENT ON FUNCTION tide.rows_elsewhere(tide.pushed_row[], text) IS 'Pushed rows whose change, captured just now, is in no bucket that their device hears of. Raises TD126 when they were not captured. Internal.';
