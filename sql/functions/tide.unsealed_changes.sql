-- Few, as a rule. What a seal takes meanwhile is in tide.key_log for whoever asks there afterwards.
CREATE OR REPLACE FUNCTION tide.unsealed_changes(key_hashes bigint[])
    RETURNS SETOF tide.change_log
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT c.*
      FROM (SELECT s.snap FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1) AS s
     CROSS JOIN LATERAL tide.sealable_ranges(s.snap) AS r
      JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
     WHERE c.key_hash = ANY (key_hashes) AND c.xid IS DISTINCT FROM pg_current_xact_id_if_assigned();
END;
$$;
COMMENT ON FUNCTION tide.unsealed_changes(bigint[]) IS 'Committed changes of some keys that no complete seal has taken. Internal.';
