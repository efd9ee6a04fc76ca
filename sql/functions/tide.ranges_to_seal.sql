CREATE OR REPLACE FUNCTION tide.ranges_to_seal(complete pg_snapshot, previous tide.seal_log, step xid8[], OUT above xid8, OUT below xid8)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF previous.cut_change_id IS NULL AND step IS NULL THEN
        RETURN QUERY SELECT r.above, r.below FROM tide.sealable_ranges(complete) AS r;
        RETURN;
    END IF;
    -- The last step takes what ends beyond the last cut, and what the first step did not see yet.
    RETURN QUERY
    SELECT (x.xid::text::bigint - 1)::text::xid8, (x.xid::text::bigint + 1)::text::xid8
      FROM (SELECT unnest(step) AS xid
             UNION
            SELECT k.xid FROM tide.sealable_ranges(complete) AS r JOIN tide.change_log AS k ON k.xid > r.above AND k.xid < r.below
             -- Not what an earlier step wrote about transactions that it sealed: images of rows.
             WHERE step IS NULL AND k.change_id > previous.cut_change_id AND (k.key_hash IS NULL OR k.op NOT IN ('A', 'M'))
             UNION
            SELECT k.xid FROM tide.sealable_ranges(previous.snap) AS r JOIN tide.change_log AS k ON k.xid > r.above AND k.xid < r.below
             WHERE step IS NULL) AS x;
END;
$$;
COMMENT ON FUNCTION tide.ranges_to_seal(pg_snapshot, tide.seal_log, xid8[]) IS
'Open ranges of transaction ids that a seal takes: all that ended since the last complete one, or a step of a long seal, or (step NULL) its last step. Internal.';
