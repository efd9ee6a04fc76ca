-- name: TryLockInstall :one
SELECT pg_catalog.pg_try_advisory_xact_lock(@lock_id::bigint)::boolean AS locked;

-- name: RegisteredTables :many
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)::text AS name
  FROM tide.synced_table AS s
  JOIN pg_catalog.pg_class AS c ON c.oid = s.relation
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE s.unregistered_at IS NULL
 ORDER BY n.nspname, c.relname;
