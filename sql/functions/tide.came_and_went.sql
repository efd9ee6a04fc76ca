CREATE OR REPLACE FUNCTION tide.came_and_went(xid xid8, key_hash bigint, table_id integer, row_key text)
    RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    v_ops "char"[] := (
        SELECT array_agg(c.op ORDER BY coalesce(c.order_id, c.change_id), c.change_id)
          FROM (SELECT k.change_id FROM tide.key_log AS k WHERE k.key_hash = key_hash AND k.xid = xid
                 UNION
                SELECT u.change_id FROM tide.unsealed_changes() AS u WHERE u.xid = xid AND u.key_hash = key_hash) AS k
         CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = xid AND l.change_id = k.change_id OFFSET 0) AS c
         WHERE c.table_id = table_id AND c.row_key = row_key COLLATE "C" AND c.op IN ('I', 'U', 'D'));
BEGIN
    RETURN v_ops[1] = 'I' AND v_ops[cardinality(v_ops)] = 'D';
END;
$$;
COMMENT ON FUNCTION tide.came_and_went(xid8, bigint, integer, text) IS 'Whether a transaction inserted and deleted a row that was not there before. Internal.';
