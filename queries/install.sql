-- name: LockInstall :exec
SELECT pg_catalog.pg_advisory_xact_lock(@lock_id::bigint);

-- name: RegisteredTables :many
SELECT s.relation::text AS name FROM tide.synced_table AS s WHERE s.unregistered_at IS NULL ORDER BY 1;
