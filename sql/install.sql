-- Every replaceable object, in the order in which they refer to each other. Tables are in migrations/.
-- Development: psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql

-- What is installed
\ir functions/tide.version.sql

-- Reading a registration
\ir functions/tide.base_type.sql
\ir functions/tide.synced_columns.sql
\ir functions/tide.current_names.sql
\ir functions/tide.registered_table.sql
\ir functions/tide.bucket_function_of.sql
\ir functions/tide.describe_rule.sql
\ir functions/tide.bucket_patterns.sql
\ir functions/tide.key_index.sql
\ir functions/tide.key_equality.sql
\ir functions/tide.column_equality.sql
\ir functions/tide.key_columns.sql
\ir functions/tide.parent_columns.sql
\ir functions/tide.deleted_expression.sql

-- What a row is on the wire
\ir functions/tide.bytea_array_json.sql
\ir functions/tide.owner_bucket.sql
\ir functions/tide.function_buckets.sql
\ir functions/tide.lost_column.sql
\ir functions/tide.own_buckets.sql
\ir functions/tide.parent_buckets.sql
\ir functions/tide.bucket_expression.sql
\ir functions/tide.buckets_beside_tree.sql
\ir functions/tide.row_expressions.sql

-- Capture
\ir functions/tide.needs_read_back.sql
\ir functions/tide.capture_shape.sql
\ir functions/tide.has_shape.sql
\ir functions/tide.capture_settings.sql
\ir functions/tide.draw_order.sql
\ir functions/tide.take_order.sql
\ir functions/tide.capture_read_back_statement.sql
\ir functions/tide.captured_orders.sql
\ir functions/tide.capture_statement.sql
\ir functions/tide.capture_again_condition.sql
\ir functions/tide.read_problem.sql
\ir functions/tide.assert_readable.sql
\ir functions/tide.write_marks.sql
\ir functions/tide.mark_table.sql
\ir functions/tide.capture_truncate.sql
\ir functions/tide.capture_source.sql
\ir functions/tide.capture_function.sql
\ir functions/tide.reading_shape.sql
\ir functions/tide.make_reading.sql
\ir functions/tide.reading_of.sql
\ir functions/tide.assert_key_order.sql
\ir functions/tide.keep_reading.sql
\ir functions/tide.write_capture_functions.sql

-- Rules that look at other tables
\ir functions/tide.changed_columns.sql
\ir functions/tide.affected_source.sql
\ir functions/tide.is_readable.sql
\ir functions/tide.assert_sources.sql
\ir functions/tide.bucket_queries.sql
\ir functions/tide.write_bucket_functions.sql
\ir functions/tide.set_bucket_sources.sql
\ir functions/tide.resolve_parents.sql
\ir functions/tide.watch_columns.sql
\ir functions/tide.add_bucket_dependency.sql
\ir functions/tide.add_access_dependency.sql
\ir functions/tide.failed_row.sql
\ir functions/tide.judge_rows.sql
\ir functions/tide.judge_by_parents.sql
\ir functions/tide.judge_rules.sql
\ir functions/tide.pending_moves.sql
\ir functions/tide.access_events.sql
\ir functions/tide.derive.sql
\ir functions/tide.seal_effects.sql
\ir functions/tide.store_effects.sql

-- Pushing: what is written for each table
\ir functions/tide.push_columns.sql
\ir functions/tide.push_target.sql
\ir functions/tide.push_reference_check.sql
\ir functions/tide.push_insert_source.sql
\ir functions/tide.push_update_source.sql
\ir functions/tide.push_source.sql
\ir functions/tide.push_schemas.sql
\ir functions/tide.drop_push_functions.sql
\ir functions/tide.write_push_functions.sql
\ir functions/tide.assert_push_policy.sql
\ir functions/tide.missing_push_grants.sql
\ir functions/tide.set_fk_depths.sql
\ir functions/tide.shape_of.sql
\ir functions/tide.set_shape.sql

-- Registration
\ir functions/tide.lock_briefly.sql
\ir functions/tide.trigger_findings.sql
\ir functions/tide.registration_problem.sql
\ir functions/tide.resolve_bucket_function.sql
\ir functions/tide.resolve_columns.sql
\ir functions/tide.missing_grants.sql
\ir functions/tide.store_registration.sql
\ir functions/tide.apply_registration.sql
\ir functions/tide.register_table.sql
\ir functions/tide.refresh.sql
\ir functions/tide.take_back.sql
\ir functions/tide.unregister_table.sql
\ir functions/tide.pause.sql
\ir functions/tide.resume.sql

-- Sealing
\ir functions/tide.sealable_ranges.sql
\ir functions/tide.ranges_to_seal.sql
\ir functions/tide.unsealed_changes.sql
\ir functions/tide.came_and_went.sql
\ir functions/tide.snapshot_listing.sql
\ir functions/tide.adoption.sql
\ir functions/tide.seal_step.sql
\ir functions/tide.noted_buckets.sql
\ir functions/tide.tables_to_judge.sql
\ir functions/tide.seal.sql
\ir functions/tide.set_origin.sql
\ir functions/tide.seal_in_progress.sql
\ir functions/tide.head.sql
\ir functions/tide.position_of.sql

-- Reading the log
\ir functions/tide.bucket_position.sql
\ir functions/tide.bucket_heads.sql
\ir functions/tide.check_page.sql
\ir functions/tide.name_of.sql
\ir functions/tide.bundle_changes.sql
\ir functions/tide.bundle_page.sql
\ir functions/tide.bucket_bundles.sql
\ir functions/tide.pull_end.sql
\ir functions/tide.pull.sql
\ir functions/tide.pull_buckets.sql
\ir functions/tide.bundle_rows.sql
\ir functions/tide.sealed_after.sql
\ir functions/tide.key_text.sql
\ir functions/tide.row_history.sql
\ir views/tide.bundles.sql
\ir views/tide.changes.sql
\ir views/tide.tables.sql
\ir views/tide.buckets.sql
\ir views/tide.lag.sql

-- Devices and their sources
\ir functions/tide.home_bucket.sql
\ir functions/tide.set_bucket_access.sql
\ir functions/tide.buckets_of.sql
\ir functions/tide.assert_buckets.sql
\ir functions/tide.scope_state.sql
\ir functions/tide.assert_scope.sql
\ir functions/tide.replacement_of.sql
\ir functions/tide.assert_source.sql
\ir functions/tide.source_kind.sql
\ir functions/tide.replace_source.sql
\ir functions/tide.meet_source.sql
\ir functions/tide.set_source_kind.sql
\ir functions/tide.source_shape.sql
\ir functions/tide.renew_shape.sql
\ir functions/tide.project_payload.sql
\ir functions/tide.device_bundle_rows.sql
\ir functions/tide.assert_initialization.sql
\ir functions/tide.assert_open.sql
\ir functions/tide.connect.sql
\ir functions/tide.exchange_limits.sql
\ir functions/tide.front_settings.sql
\ir functions/tide.note_clients.sql
\ir views/tide.clients.sql

-- Cursor clients
\ir functions/tide.write_cursor.sql
\ir functions/tide.read_cursor.sql
\ir functions/tide.hold_buckets.sql
\ir functions/tide.lost_buckets.sql
\ir functions/tide.open_cursor.sql
\ir functions/tide.reached_by.sql
\ir functions/tide.assert_history.sql
\ir functions/tide.read_positions.sql
\ir functions/tide.connect_buckets.sql
\ir functions/tide.head_seal.sql
\ir functions/tide.seal_of.sql
\ir functions/tide.open_pull.sql
\ir functions/tide.pull_page.sql
\ir functions/tide.bundles_for.sql
\ir functions/tide.next_page.sql
\ir functions/tide.pull_cursor.sql
\ir functions/tide.open_pull_cursor.sql
\ir functions/tide.watch_cursor.sql

-- Pushing
\ir functions/tide.is_retryable.sql
\ir functions/tide.op_name.sql
\ir functions/tide.key_pushed.sql
\ir functions/tide.parse_push.sql
\ir functions/tide.push_groups.sql
\ir functions/tide.client_role.sql
\ir functions/tide.run_push_step.sql
\ir functions/tide.is_committed.sql
\ir functions/tide.assert_next_push.sql
\ir functions/tide.claim_push.sql
\ir functions/tide.lock_pushed.sql
\ir functions/tide.is_cursor_push.sql
\ir functions/tide.push_buckets.sql
\ir functions/tide.judge_push.sql
\ir functions/tide.home_version.sql
\ir functions/tide.conflict_bodies.sql
\ir functions/tide.find_conflicts.sql
\ir functions/tide.rejection_body.sql
\ir functions/tide.unknown_columns.sql
\ir functions/tide.rows_elsewhere.sql
\ir functions/tide.write_pushed.sql
\ir functions/tide.write_pushed_otherwise.sql
\ir functions/tide.renew_push_functions.sql
\ir functions/tide.revive_rows.sql
\ir functions/tide.apply_push.sql
\ir functions/tide.begin_push.sql
\ir functions/tide.push.sql
\ir functions/tide.newest_bundle_of.sql
\ir functions/tide.newest_bundle.sql
\ir functions/tide.push_result.sql
\ir functions/tide.pushed_rows.sql
\ir functions/tide.pushed_bundle.sql
\ir functions/tide.assert_push_session.sql
\ir functions/tide.create_push_session.sql
\ir functions/tide.add_push_chunk.sql
\ir functions/tide.staged_push.sql
\ir functions/tide.forget_push_chunks.sql
\ir functions/tide.commit_push_session.sql
\ir functions/tide.delete_push_session.sql

-- Snapshots
\ir functions/tide.snapshot_source.sql
\ir functions/tide.rows_source.sql
\ir functions/tide.begin_snapshot_session.sql
\ir functions/tide.fill_snapshot_session.sql
\ir functions/tide.create_snapshot_session.sql
\ir functions/tide.open_buckets.sql
\ir functions/tide.create_buckets_session.sql
\ir functions/tide.set_snapshot_output.sql
\ir functions/tide.open_buckets_snapshot.sql
\ir functions/tide.snapshot_session.sql
\ir functions/tide.snapshot_pages.sql
\ir functions/tide.shown_buckets.sql
\ir functions/tide.snapshot_rows.sql
\ir functions/tide.snapshot_chunk.sql
\ir functions/tide.delete_snapshot_session.sql
\ir functions/tide.open_snapshot.sql
\ir functions/tide.clean_sessions.sql

-- What devices make their tables from, and check them by
\ir functions/tide.fk_action.sql
\ir functions/tide.json_kind.sql
\ir functions/tide.describe_tables.sql
\ir functions/tide.client_schema.sql
\ir functions/tide.row_digest.sql
\ir functions/tide.buckets_to_verify.sql
\ir functions/tide.bucket_rows.sql
\ir functions/tide.verify_buckets.sql
\ir functions/tide.verify_range.sql

-- Row-level security made of bucket rules
\ir functions/tide.my_buckets.sql
\ir functions/tide.buckets_proof.sql
\ir functions/tide.my_proven_buckets.sql
\ir functions/tide.policies.sql
\ir functions/tide.policies_sql.sql
\ir functions/tide.resolve_write_function.sql
\ir functions/tide.write_reads_function.sql
\ir functions/tide.enable_rls.sql
\ir functions/tide.disable_rls.sql

-- Telling the application
\ir functions/tide.set_hook.sql
\ir functions/tide.call_hook.sql
\ir functions/tide.call_push_hook.sql
\ir functions/tide.queue_event.sql
\ir functions/tide.queue_conflict.sql
\ir functions/tide.note_stale.sql
\ir functions/tide.next_hook_event.sql
\ir functions/tide.deliver_hook_event.sql
\ir views/tide.hook_events.sql

-- Explaining and mending buckets
\ir functions/tide.rebucket.sql
\ir functions/tide.retry_bucket_failures.sql
\ir functions/tide.check_buckets.sql
\ir functions/tide.row_buckets.sql
\ir functions/tide.why_bucket.sql
\ir functions/tide.who_sees.sql
\ir functions/tide.why_not.sql
\ir views/tide.bucket_failures.sql

-- Operating it
\ir functions/tide.add_partitions.sql
\ir functions/tide.definitions.sql
\ir functions/tide.maintain.sql
\ir functions/tide.set_maintenance.sql
\ir functions/tide.sample_buckets.sql
\ir functions/tide.check.sql
\ir views/tide.status.sql

\ir grants.sql
\ir rewrite_capture.sql
