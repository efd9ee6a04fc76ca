-- name: Seal :one
SELECT tide.seal()::bigint AS last_bundle_id;

-- name: SealInProgress :one
SELECT tide.seal_in_progress()::boolean AS in_progress;

-- As long as this is the same, no transaction that wrote anything has committed.
-- name: Committed :one
SELECT pg_catalog.pg_current_snapshot()::text AS committed;

-- name: Progress :one
SELECT tide.head()::bigint AS head_bundle_id, l.unsealed_changes::bigint AS unsealed_changes FROM tide.lag AS l;

-- name: Maintain :many
SELECT m.done::text AS done FROM tide.maintain(only_altered => true) AS m (done);
