-- Planned as a part of the query that it stands in, like tide.bundle_changes: that query has nested loops alone.
-- How far the page reaches is known from bundle_log, so no change is read that is not returned. A running
-- sum as float8, not numeric, is exact up to 2^53 bytes.
CREATE OR REPLACE FUNCTION tide.bucket_bundles(bucket text, after_seq bigint, last_seq bigint, max_bundles integer, max_bytes bigint)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, nth bigint, table_schema text, table_name text, row_key text, op text, payload json,
        source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT b.bundle_id, b.bundle_seq, c.nth, s.table_schema, s.table_name, c.row_key,
           CASE c.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' END,
           CASE WHEN c.op <> 'D' THEN c.payload END,
           coalesce(b.source_id, 'server'), coalesce(b.source_bundle_id, b.bundle_id), b.sealed_at
      FROM (SELECT l.*, sum(l.byte_count::float8) OVER (ORDER BY l.bundle_seq ROWS UNBOUNDED PRECEDING) - l.byte_count AS bytes_before
              FROM tide.bundle_log AS l
             WHERE l.bucket_id = bucket_bundles.bucket COLLATE "C" AND l.bundle_seq > bucket_bundles.after_seq AND l.bundle_seq <= bucket_bundles.last_seq
             ORDER BY l.bundle_seq
             LIMIT bucket_bundles.max_bundles) AS b
      -- A bundle without changes says that the user's access changed.
      LEFT JOIN LATERAL tide.bundle_changes(b.xid, b.consecutive, b.min_change_id, b.max_change_id, b.changes, b.ops) AS c ON true
      CROSS JOIN LATERAL tide.name_of(c.table_id) AS s
     WHERE bucket_bundles.max_bundles IS NULL OR b.bytes_before = 0 OR b.bytes_before + b.byte_count <= bucket_bundles.max_bytes;
END;
COMMENT ON FUNCTION tide.bucket_bundles(text, bigint, bigint, integer, bigint) IS
'Bundles of a bucket with their changes, in order: those that fit, or all of them without max_bundles. Internal.';
