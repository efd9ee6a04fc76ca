-- name: FrontSettings :one
SELECT coalesce(f.maintenance_message, '')::text AS maintenance_message, (f.maintenance_message IS NOT NULL)::boolean AS in_maintenance,
       extract(epoch FROM f.maintenance_retry_after)::float8 AS retry_after_seconds,
       coalesce(f.min_app_version, '')::text AS min_app_version, f.app_version_required::boolean AS app_version_required
  FROM tide.front_settings() AS f;

-- name: NextHookEvent :one
SELECT coalesce(tide.next_hook_event(), 0)::bigint AS event_id;

-- name: DeliverHookEvent :one
SELECT tide.deliver_hook_event(@event_id::bigint)::boolean AS told;

-- name: NoteStale :exec
SELECT tide.note_stale(@user_id::text, @source_id::text, @reason::text);

-- name: NoteClients :exec
SELECT tide.note_clients(sqlc.arg(clients)::text::json);
