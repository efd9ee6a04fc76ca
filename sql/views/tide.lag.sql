-- Counted range by range: joined with all ranges at once, the whole log is read when nothing was analysed yet.
CREATE OR REPLACE VIEW tide.lag AS
SELECT (SELECT coalesce(sum(n.changes), 0)::bigint
          FROM tide.sealable_ranges(c.snap) AS r
         CROSS JOIN LATERAL (SELECT count(*) AS changes FROM tide.change_log AS l WHERE l.xid > r.above AND l.xid < r.below) AS n) AS unsealed_changes,
       clock_timestamp() - s.sealed_at AS since_last_seal,
       s.cut_change_id IS NOT NULL AS seal_in_progress,
       (SELECT min(x) FROM pg_snapshot_xip(pg_current_snapshot()) AS x) AS oldest_open_xid,
       (SELECT min(a.xact_start) FROM pg_catalog.pg_stat_activity AS a WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()) AS oldest_open_since
  FROM (SELECT * FROM tide.seal_log AS l ORDER BY l.seal_id DESC LIMIT 1) AS s
 CROSS JOIN LATERAL (SELECT * FROM tide.seal_log AS l WHERE l.cut_change_id IS NULL ORDER BY l.seal_id DESC LIMIT 1) AS c;
COMMENT ON VIEW tide.lag IS 'What is committed but not sealed yet. A transaction that is still open delays only its own changes.';
