CREATE OR REPLACE VIEW tide.status AS
SELECT tide.version() AS version,
       CASE WHEN (SELECT s.paused_at IS NOT NULL FROM tide.setting AS s) THEN 'paused' ELSE 'running' END AS capture,
       (SELECT count(*) FROM tide.tables) AS tables,
       (SELECT count(DISTINCT f.bucket_id) FROM tide.bucket_floor AS f) AS buckets,
       tide.head() AS last_bundle_id,
       (SELECT l.sealed_at FROM tide.seal_log AS l ORDER BY l.seal_id DESC LIMIT 1) AS last_sealed_at,
       (SELECT g.unsealed_changes FROM tide.lag AS g) AS unsealed_changes,
       pg_size_pretty((SELECT sum(pg_total_relation_size(i.inhrelid)) FROM pg_inherits AS i
                        WHERE i.inhparent IN ('tide.change_log'::regclass, 'tide.bundle_log'::regclass, 'tide.seal_log'::regclass))) AS log_size,
       (SELECT count(*) FROM tide.check()) AS findings;
COMMENT ON VIEW tide.status IS 'One row: is it running, how far is it, and does tide.check() find anything.';
