-- name: Connect :one
SELECT c.resolution::text AS resolution, c.initialization_id::uuid AS initialization_id,
       c.lease_expires_at::timestamptz AS lease_expires_at, coalesce(c.retry_after_seconds, 0)::integer AS retry_after_seconds
  FROM tide.connect(@user_id::text, @source_id::text, @has_local_pending_rows::boolean, @many_buckets::boolean) AS c;

-- name: ConnectBuckets :one
SELECT c.next_cursor::text AS next_cursor, coalesce(c.bundle_id, -1)::bigint AS bundle_id, to_json(c.add)::json AS add, to_json(c.remove)::json AS remove, to_json(c.repair)::json AS repair
  FROM tide.connect_buckets(@user_id::text, @source_id::text, @read_cursor::text, sqlc.narg(positions)::text::json, sqlc.narg(pushed)::text) AS c;

-- The rows of a page are read from the cursor.
-- name: OpenPullCursor :one
SELECT p.next_cursor::text AS next_cursor, p.has_more::boolean AS has_more, to_json(p.add)::json AS add, to_json(p.remove)::json AS remove, to_json(p.repair)::json AS repair
  FROM tide.open_pull_cursor(@user_id::text, @source_id::text, @read_cursor::text, @max_bundles::integer, @max_bytes::bigint, @cursor_name::text) AS p;

-- name: WatchCursor :one
SELECT w.bundle_id::bigint AS bundle_id, w.buckets::text[] AS buckets, w.newest_bundle_id::bigint AS newest_bundle_id, w.changed::boolean AS changed
  FROM tide.watch_cursor(@user_id::text, @source_id::text, @read_cursor::text) AS w;

-- name: HeadSeal :one
SELECT h.bundle_id::bigint AS bundle_id, h.seal_id::bigint AS seal_id, h.identity::uuid AS identity
  FROM tide.head_seal() AS h;

-- name: CreateBucketsSession :one
SELECT s.snapshot_id::uuid AS snapshot_id, s.row_count::bigint AS row_count, s.byte_count::bigint AS byte_count, s.expires_at::timestamptz AS expires_at,
       s.next_cursor::text AS next_cursor, to_json(s.wanted)::json AS wanted
  FROM tide.create_buckets_session(@user_id::text, @source_id::text, @read_cursor::text, sqlc.narg(buckets)::text[], @bundle_id::bigint, @seal_id::bigint, @identity::uuid) AS s;

-- name: OpenBucketsSnapshot :one
SELECT s.next_cursor::text AS next_cursor, s.wanted::text[] AS wanted
  FROM tide.open_buckets_snapshot(@user_id::text, @source_id::text, @read_cursor::text, sqlc.narg(buckets)::text[], @bundle_id::bigint, @seal_id::bigint, @identity::uuid,
                                  @cursor_name::text) AS s;

-- name: AssertBuckets :exec
SELECT tide.assert_buckets(@user_id::text, @buckets::text[]);

-- name: AssertHistory :exec
SELECT tide.assert_history(@seal::text);

-- name: AssertScope :exec
SELECT tide.assert_scope(@user_id::text);

-- name: CreatePushSession :one
SELECT c.status::text AS status, c.push_id::uuid AS push_id
  FROM tide.create_push_session(@user_id::text, @source_id::text, @source_bundle_id::bigint, @planned_row_count::bigint,
                                sqlc.narg(initialization_id)::uuid, sqlc.narg(bundle_uuid)::uuid) AS c;

-- name: AddPushChunk :one
SELECT tide.add_push_chunk(@user_id::text, @source_id::text, @push_id::uuid, @start_row_ordinal::bigint, sqlc.arg(wire_rows)::text::json)::bigint AS next_row_ordinal;

-- name: CommitPushSession :one
SELECT p.status::text AS status, p.source_bundle_id::bigint AS source_bundle_id, (p.conflicts -> 0)::json AS conflict,
       p.conflicts::json AS conflicts, p.rejected::json AS rejected, p.unsealed::boolean AS unsealed
  FROM tide.commit_push_session(@user_id::text, @source_id::text, @push_id::uuid, sqlc.narg(claims)::text::json) AS p;

-- name: DeletePushSession :exec
SELECT tide.delete_push_session(@user_id::text, @source_id::text, @push_id::uuid);

-- name: Push :one
SELECT p.status::text AS status, p.source_bundle_id::bigint AS source_bundle_id, (p.conflicts -> 0)::json AS conflict,
       p.conflicts::json AS conflicts, p.rejected::json AS rejected, p.unsealed::boolean AS unsealed
  FROM tide.push(@user_id::text, @source_id::text, @source_bundle_id::bigint, sqlc.arg(wire_rows)::text::json, sqlc.narg(claims)::text::json,
                 sqlc.narg(initialization_id)::uuid, sqlc.narg(bundle_uuid)::uuid) AS p;

-- name: PushedBundle :many
SELECT coalesce(b.bundle_id, 0)::text AS bundle_id, coalesce(b.bundle_seq, 0)::text AS bundle_seq, coalesce(b.row_count, 0)::text AS row_count, coalesce(b.seal, '')::text AS seal,
       b.kind::text AS kind, b.row_version::text AS row_version, to_json(b.buckets)::json AS buckets, b.table_schema::text AS table_schema, b.table_name::text AS table_name,
       b.key::json AS key, b.op::text AS op, b.payload::json AS payload,
       b.sealed_at::text AS sealed_at, b.bundle_source_id::text AS source_id, b.bundle_source_bundle_id::text AS source_bundle_id
  FROM tide.pushed_bundle(@user_id::text, @source_id::text, @source_bundle_id::bigint, @max_rows::integer) AS b;

-- name: ReplaceSource :exec
SELECT tide.replace_source(@user_id::text, @previous_source_id::text, @new_source_id::text, @reason::text);

-- name: ReplacementOf :one
SELECT coalesce(tide.replacement_of(@user_id::text, @source_id::text), '')::text AS new_source_id;

-- name: HomePosition :one
SELECT p.floor_seq::bigint AS floor_seq, p.head_seq::bigint AS head_seq
  FROM tide.bucket_position(tide.home_bucket(@user_id::text)) AS p;

-- name: OpenPull :one
SELECT p.floor_seq::bigint AS floor_seq, p.head_seq::bigint AS head_seq
  FROM tide.open_pull(@user_id::text, @source_id::text, @after_bundle_seq::bigint, @max_bundles::integer, @max_bytes::bigint, @target_bundle_seq::bigint, @cursor_name::text) AS p;

-- name: HomeBundleRows :many
SELECT b.bundle_id::text AS bundle_id, b.sealed_at::text AS sealed_at, b.source_id::text AS source_id, b.source_bundle_id::text AS source_bundle_id,
       b.table_schema::text AS table_schema, b.table_name::text AS table_name, b.key::json AS key, b.op::text AS op, b.payload::json AS payload
  FROM tide.device_bundle_rows(@user_id::text, @device::text, @bundle_seq::bigint, @after_row_ordinal::bigint, @max_rows::integer) AS b;

-- name: CreateSnapshotSession :one
SELECT s.snapshot_id::uuid AS snapshot_id, s.row_count::bigint AS row_count, s.byte_count::bigint AS byte_count, s.expires_at::timestamptz AS expires_at
  FROM tide.create_snapshot_session(@user_id::text, @source_id::text, @snapshot_bundle_seq::bigint) AS s;

-- name: SnapshotSession :one
SELECT s.snapshot_bundle_seq::bigint AS snapshot_bundle_seq, s.row_count::bigint AS row_count, (s.buckets IS NOT NULL)::boolean AS of_buckets
  FROM tide.snapshot_session(@user_id::text, @snapshot_id::uuid) AS s;

-- name: SnapshotChunk :many
SELECT c.row_count::text AS row_count, c.rows::text AS rows
  FROM tide.snapshot_chunk(@user_id::text, @snapshot_id::uuid, @after_row_ordinal::bigint, @max_rows::integer) AS c;

-- name: DeleteSnapshotSession :exec
SELECT tide.delete_snapshot_session(@user_id::text, @snapshot_id::uuid);

-- name: OpenSnapshot :exec
SELECT tide.open_snapshot(@user_id::text, @cursor_name::text);

-- name: ExportSnapshot :one
SELECT pg_catalog.pg_export_snapshot()::text AS snapshot;

-- name: Capabilities :many
SELECT t.table_schema::text AS table_schema, t.table_name::text AS table_name, t.key_columns::text[] AS key_columns
  FROM tide.tables AS t
 ORDER BY t.table_schema COLLATE "C", t.table_name COLLATE "C";

-- name: ClientSchema :one
SELECT s.version::text AS version, s.newest_version::text AS newest_version, s.tables::text AS tables
  FROM tide.client_schema(@user_id::text, @source_id::text) AS s;

-- name: VerifyBuckets :many
SELECT v.bucket_id::text AS bucket_id, v.table_schema::text AS table_schema, v.table_name::text AS table_name, v.row_count::text AS row_count, v.checksum::text AS checksum
  FROM tide.verify_buckets(@user_id::text, @source_id::text, sqlc.narg(buckets)::text[]) AS v;

-- name: VerifyRange :many
SELECT v.kind::text AS kind, v.prefix::text AS prefix, v.row_count::text AS row_count, v.checksum::text AS checksum, v.key::json AS key, v.payload::json AS payload
  FROM tide.verify_range(@user_id::text, @source_id::text, sqlc.narg(bucket_id)::text, @table_schema::text, @table_name::text, @prefixes::text[], @with_payload::boolean) AS v;

-- name: ExchangeLimits :one
SELECT l.max_rows_per_push::bigint AS max_rows_per_push, l.max_bytes_per_push::bigint AS max_bytes_per_push, l.max_rows_per_chunk::bigint AS max_rows_per_chunk,
       extract(epoch FROM l.push_session_ttl)::bigint AS push_session_ttl_seconds,
       extract(epoch FROM l.snapshot_session_ttl)::bigint AS snapshot_session_ttl_seconds,
       l.max_rows_per_snapshot::bigint AS max_rows_per_snapshot, l.max_bytes_per_snapshot::bigint AS max_bytes_per_snapshot,
       extract(epoch FROM l.initialization_lease_ttl)::bigint AS initialization_lease_ttl_seconds
  FROM tide.exchange_limits() AS l;

-- name: Version :one
SELECT tide.version()::text AS version;

-- name: CleanSessions :one
SELECT tide.clean_sessions()::bigint AS ended;

-- Bounds for what a request may take, and what it need not wait for: the seal after a push commits
-- synchronously, and lies behind it in the WAL. Bundles keep the trace they came from.
-- name: BoundTransaction :exec
SELECT pg_catalog.set_config('statement_timeout', sqlc.arg(statement_timeout_ms)::text, true),
       pg_catalog.set_config('lock_timeout', sqlc.arg(lock_timeout_ms)::text, true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', sqlc.arg(idle_timeout_ms)::text, true),
       pg_catalog.set_config('synchronous_commit', sqlc.arg(synchronous_commit)::text, true),
       pg_catalog.set_config('tide.traceparent', sqlc.arg(traceparent)::text, true);
