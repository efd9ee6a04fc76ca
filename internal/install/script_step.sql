
-- @name@
BEGIN;
SELECT pg_advisory_xact_lock(@lock_id@) IS NULL AS tide_locked \gset
SELECT NOT EXISTS (SELECT FROM :tide_version_table WHERE version_id = @number@) AS tide_todo \gset
\if :tide_todo
\echo applied @name@
@up@
INSERT INTO :tide_version_table (version_id, is_applied) VALUES (@number@, true);
\endif
COMMIT;
