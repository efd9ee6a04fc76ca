-- Planned as a part of the query that it stands in, which keeps to indexes. Few, as a rule. What a seal takes
-- meanwhile is in tide.key_log for whoever asks there afterwards, or in the same query.
CREATE OR REPLACE FUNCTION tide.unsealed_changes()
    RETURNS SETOF tide.change_log
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.*
      FROM (SELECT s.snap FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1) AS s
     CROSS JOIN LATERAL tide.sealable_ranges(s.snap) AS r
      JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
     WHERE c.xid IS DISTINCT FROM pg_current_xact_id_if_assigned();
END;
COMMENT ON FUNCTION tide.unsealed_changes() IS 'Changes of other transactions that are committed, and that no complete seal has taken. Internal.';
