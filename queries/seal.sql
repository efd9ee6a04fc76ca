-- name: Seal :one
SELECT tide.seal()::bigint AS last_bundle_id;

-- name: SealInProgress :one
SELECT (l.cut_change_id IS NOT NULL)::boolean AS in_progress FROM tide.seal_log AS l ORDER BY l.seal_id DESC LIMIT 1;

-- name: Maintain :many
SELECT m.done::text AS done FROM tide.maintain() AS m (done);
