CREATE OR REPLACE VIEW tide.bundles AS
SELECT b.bundle_id, b.bucket_id, b.bundle_seq, b.xid, b.seal_id, cardinality(b.changes) AS change_count, b.byte_count,
       coalesce(b.source_id, 'server') AS source_id, coalesce(b.source_bundle_id, b.bundle_id) AS source_bundle_id, b.user_id, b.label, b.sealed_at, b.traceparent
  FROM tide.bundle_log AS b
 WHERE b.bundle_id <= (SELECT tide.head());
COMMENT ON VIEW tide.bundles IS 'Every sealed transaction, one row for each bucket it touched. A bundle of label reset has no changes: it stands for a snapshot that devices must take.';
