-- Every replaceable object, in the order in which they refer to each other. Tables are in migrations/.
-- Development: psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql

-- What is installed
\ir functions/tide.version.sql

-- Reading a registration
\ir functions/tide.base_type.sql
\ir functions/tide.synced_columns.sql
\ir functions/tide.current_names.sql
\ir functions/tide.registered_table.sql
\ir functions/tide.describe_rule.sql
\ir functions/tide.bucket_patterns.sql
\ir functions/tide.key_index.sql
\ir functions/tide.key_equality.sql

-- What a row is on the wire
\ir functions/tide.bytea_array_json.sql
\ir functions/tide.owner_bucket.sql
\ir functions/tide.function_buckets.sql
\ir functions/tide.row_expressions.sql

-- Capture
\ir functions/tide.needs_read_back.sql
\ir functions/tide.capture_shape.sql
\ir functions/tide.has_shape.sql
\ir functions/tide.capture_settings.sql
\ir functions/tide.draw_order.sql
\ir functions/tide.take_order.sql
\ir functions/tide.capture_read_back_statement.sql
\ir functions/tide.capture_statement.sql
\ir functions/tide.read_problem.sql
\ir functions/tide.assert_readable.sql
\ir functions/tide.mark_table.sql
\ir functions/tide.capture_truncate.sql
\ir functions/tide.capture_source.sql
\ir functions/tide.capture_function.sql
\ir functions/tide.write_capture_functions.sql

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
\ir functions/tide.snapshot_listing.sql
\ir functions/tide.adoption.sql
\ir functions/tide.seal_step.sql
\ir functions/tide.seal.sql
\ir functions/tide.set_origin.sql
\ir functions/tide.head.sql
\ir functions/tide.position_of.sql

-- Reading the log
\ir functions/tide.bucket_position.sql
\ir functions/tide.check_page.sql
\ir functions/tide.pull.sql
\ir functions/tide.pull_buckets.sql
\ir functions/tide.bundle_rows.sql
\ir functions/tide.row_history.sql
\ir views/tide.bundles.sql
\ir views/tide.changes.sql
\ir views/tide.tables.sql
\ir views/tide.buckets.sql
\ir views/tide.lag.sql

-- Operating it
\ir functions/tide.add_partitions.sql
\ir functions/tide.maintain.sql
\ir functions/tide.check.sql
\ir views/tide.status.sql

\ir grants.sql
\ir rewrite_capture.sql
