CREATE OR REPLACE FUNCTION tide.position_of(xid xid8)
    RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
DECLARE
    v_low    bigint;
    v_high   bigint;
    v_seal   tide.seal_log;
    v_before tide.seal_log;
    v_found  bigint;
BEGIN
    -- A snapshot only tells that it ended.
    IF pg_xact_status(xid) = 'aborted' THEN
        RAISE EXCEPTION 'transaction % was rolled back', xid
            USING ERRCODE = 'TD019', HINT = 'It has no position and never will.';
    END IF;
    SELECT min(s.seal_id), max(s.seal_id) INTO v_low, v_high FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL;
    -- The first seal whose snapshot shows the transaction: once shown, always shown.
    WHILE v_low < v_high LOOP
        SELECT * INTO v_seal FROM tide.seal_log AS s
         WHERE s.seal_id >= (v_low + v_high) / 2 AND s.cut_change_id IS NULL ORDER BY s.seal_id LIMIT 1;
        IF pg_visible_in_snapshot(xid, v_seal.snap) THEN
            v_high := CASE WHEN v_seal.seal_id < v_high THEN v_seal.seal_id ELSE (v_low + v_high) / 2 END;
        ELSE
            v_low := v_seal.seal_id + 1;
        END IF;
    END LOOP;
    SELECT * INTO v_seal FROM tide.seal_log AS s WHERE s.seal_id >= v_high AND s.cut_change_id IS NULL ORDER BY s.seal_id LIMIT 1;
    IF NOT pg_visible_in_snapshot(xid, v_seal.snap) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO v_before FROM tide.seal_log AS s WHERE s.seal_id < v_seal.seal_id AND s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1;
    -- A table that was read for this transaction has the seal's last bundle. Else its changes name
    -- their buckets, and in a bucket one seal has few bundles.
    SELECT b.bundle_id INTO v_found
      FROM tide.change_log AS c
     CROSS JOIN LATERAL unnest(c.buckets || c.old_buckets) AS u (bucket_id)
     CROSS JOIN LATERAL (
               SELECT l.bundle_id FROM tide.bundle_log AS l
                WHERE l.bucket_id = u.bucket_id COLLATE "C" AND l.bundle_id > coalesce(v_before.last_bundle_id, 0) AND l.bundle_id <= v_seal.last_bundle_id
                  AND l.xid = position_of.xid
                ORDER BY l.bundle_id LIMIT 1) AS b -- its own, before what the seal moved under its name
     WHERE c.xid = position_of.xid
       -- Its changes are not looked through for a mark where the seal read no table.
       AND NOT (EXISTS (SELECT FROM tide.adoption_log AS a WHERE a.seal_id > coalesce(v_before.seal_id, 0) AND a.seal_id <= v_seal.seal_id)
                AND EXISTS (SELECT FROM tide.change_log AS m WHERE m.xid = position_of.xid AND m.op IN ('A', '!') AND m.row_key IS NULL))
     LIMIT 1;
    RETURN coalesce(v_found, v_seal.last_bundle_id);
END;
$$;
COMMENT ON FUNCTION tide.position_of(xid8) IS
'bundle_id of a transaction: who has applied that has its changes. NULL until it is sealed; for a transaction that left nothing in any bucket, the last bundle_id of the seal that saw it. Raises TD019 for one that was rolled back.';
