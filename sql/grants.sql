-- The whole surface, by role. tide_owner owns everything; members of it register, maintain and look around.
REVOKE ALL ON ALL TABLES IN SCHEMA tide FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA tide FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tide FROM PUBLIC;

-- tide_runtime: serves the log. It is trusted with every bucket, and never writes to the log directly.
GRANT EXECUTE ON FUNCTION
    tide.version(),
    tide.head(),
    tide.seal(),
    tide.seal_in_progress(),
    tide.maintain(),
    tide.check(),
    tide.position_of(xid8),
    tide.set_origin(text, bigint, text),
    tide.bucket_position(text),
    tide.pull(text, bigint, integer, bigint, bigint),
    tide.pull(text[], bigint, integer, bigint, bigint),
    tide.bundle_rows(text, bigint, bigint, integer),
    tide.buckets_of(text),
    tide.sealed_after(bigint, integer),
    tide.scope_state(text),
    tide.assert_scope(text),
    tide.connect(text, text, boolean, boolean),
    tide.replacement_of(text, text),
    tide.replace_source(text, text, text, text),
    tide.exchange_limits(),
    tide.front_settings(),
    tide.note_clients(json),
    tide.source_shape(text, text),
    tide.device_bundle_rows(text, text, bigint, bigint, integer),
    tide.project_payload(json, jsonb),
    tide.push(text, text, bigint, json, json, uuid),
    tide.is_committed(text, text, bigint),
    tide.push_result(text, text, bigint),
    tide.pushed_rows(text, text, bigint),
    tide.source_kind(text, text),
    tide.create_push_session(text, text, bigint, bigint, uuid),
    tide.add_push_chunk(text, text, uuid, bigint, json),
    tide.commit_push_session(text, text, uuid, json),
    tide.delete_push_session(text, text, uuid),
    tide.create_snapshot_session(text, text, bigint),
    tide.snapshot_session(text, uuid),
    tide.snapshot_rows(text, uuid, bigint, integer),
    tide.delete_snapshot_session(text, uuid),
    tide.connect_buckets(text, text, text, json),
    tide.pull_cursor(text, text, text, integer, bigint),
    tide.head_seal(),
    tide.assert_buckets(text, text[]),
    tide.create_buckets_session(text, text, text, text[], bigint, bigint, uuid),
    tide.open_buckets_snapshot(text, text, text, text[], bigint, bigint, uuid, text),
    tide.open_snapshot(text, text),
    tide.clean_sessions(),
    -- A push runs as its caller, who may become the client, and so do the steps of it.
    tide.begin_push(text, json),
    tide.parse_push(json, bigint),
    tide.apply_push(text, text, bigint, tide.pushed_row[], uuid),
    tide.staged_push(text, text, uuid),
    tide.forget_push_chunks(text, text, uuid),
    tide.claim_push(text, text, bigint, bigint, uuid),
    tide.unknown_columns(tide.pushed_row[]),
    tide.find_conflicts(tide.pushed_row[], text),
    tide.lock_pushed(tide.pushed_row[], text),
    tide.judge_push(text, tide.pushed_row[], bigint[], boolean[]),
    tide.home_version(text, xid8),
    tide.conflict_bodies(text, tide.pushed_row[], json, json[]),
    tide.push_groups(tide.pushed_row[], boolean),
    tide.client_role(text),
    tide.run_push_step(integer, text, text, tide.pushed_row[], text),
    tide.write_pushed(tide.pushed_row[], text, boolean),
    tide.write_pushed_otherwise(tide.pushed_row[], text),
    tide.renew_push_functions(tide.pushed_row[]),
    tide.revive_rows(tide.pushed_row[], bigint[]),
    tide.rejection_body(tide.pushed_row, text, text, text, text),
    tide.rows_elsewhere(tide.pushed_row[], text),
    tide.is_retryable(text),
    tide.op_name("char"),
    tide.home_bucket(text),
    -- A view calls functions as its caller.
    tide.sealable_ranges(pg_snapshot),
    tide.describe_rule(tide.synced_table)
    TO tide_runtime;
GRANT SELECT ON tide.status, tide.lag, tide.tables, tide.buckets, tide.bundles TO tide_runtime;

-- Its lock is taken before the snapshot of a snapshot: nothing can be written to a table without columns by whom it is not granted to insert.
GRANT UPDATE ON tide.seal_lock TO tide_runtime;

-- tide_client: what a request is. Nothing yet: it reads and writes through functions that know the caller.
