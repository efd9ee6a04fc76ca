CREATE OR REPLACE VIEW tide.changes AS
SELECT b.bundle_id, b.bundle_seq, b.bucket_id, e.nth - 1 AS row_ordinal, s.table_schema, s.table_name, c.row_key::json AS key,
       CASE e.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' ELSE 'DELETE' END AS op,
       CASE WHEN e.op <> 'D' THEN c.payload END AS payload,
       coalesce(b.source_id, 'server') AS source_id, coalesce(b.source_bundle_id, b.bundle_id) AS source_bundle_id, b.sealed_at,
       c.change_id, b.xid
  FROM tide.bundle_log AS b
 CROSS JOIN LATERAL unnest(b.changes, b.ops) WITH ORDINALITY AS e (change_id, op, nth)
 CROSS JOIN LATERAL (
           SELECT l.* FROM tide.change_log AS l
            WHERE l.xid = b.xid AND l.change_id = e.change_id AND l.change_id BETWEEN b.min_change_id AND b.max_change_id
           OFFSET 0) AS c
  JOIN tide.synced_table AS s ON s.table_id = c.table_id
 WHERE b.bundle_id <= (SELECT tide.head());
COMMENT ON VIEW tide.changes IS 'What devices get: one row per bundle, bucket and surviving change.';
