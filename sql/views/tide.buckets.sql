CREATE OR REPLACE VIEW tide.buckets AS
SELECT k.bucket_id, p.floor_seq, p.head_seq, l.bundle_id AS last_bundle_id, l.sealed_at AS last_sealed_at, k.born_at
  FROM (SELECT f.bucket_id, min(f.created_at) AS born_at FROM tide.bucket_floor AS f GROUP BY f.bucket_id) AS k
 CROSS JOIN LATERAL tide.bucket_position(k.bucket_id) AS p
  LEFT JOIN LATERAL (
           SELECT b.bundle_id, b.sealed_at FROM tide.bundle_log AS b
            WHERE b.bucket_id = k.bucket_id AND b.bundle_id <= (SELECT tide.head())
            ORDER BY b.bundle_id DESC LIMIT 1) AS l ON true;
COMMENT ON VIEW tide.buckets IS 'Every bucket, from where and up to where its log can be read.';
