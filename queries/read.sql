-- name: Head :one
SELECT tide.head()::bigint AS bundle_id;

-- Which buckets have news, and up to which bundle, in the order of the log.
-- name: SealedAfter :many
SELECT s.bundle_id::bigint AS bundle_id, s.bucket_id::text AS bucket_id, s.bundle_seq::bigint AS bundle_seq,
       s.source_id::text AS source_id, s.source_bundle_id::bigint AS source_bundle_id
  FROM tide.sealed_after(@after_bundle_id::bigint, @max_rows::integer) AS s;

-- name: BucketHeads :many
SELECT h.bucket_id::text AS bucket_id, h.head_seq::bigint AS head_seq, h.bundle_id::bigint AS bundle_id
  FROM tide.bucket_heads(@buckets::text[]) AS h;

-- One row for each bucket of a bundle, in the order of the log.
-- name: BundlesAfter :many
SELECT b.bundle_id::bigint AS bundle_id, b.bucket_id::text AS bucket_id, b.bundle_seq::bigint AS bundle_seq,
       b.change_count::bigint AS change_count, b.source_id::text AS source_id, b.source_bundle_id::bigint AS source_bundle_id,
       coalesce(b.label, '')::text AS label, b.sealed_at::timestamptz AS sealed_at
  FROM tide.bundles AS b
 WHERE b.bundle_id >= @after_bundle_id::bigint
   AND (b.bundle_id, b.bucket_id) > (@after_bundle_id::bigint, @after_bucket_id::text)
   AND (cardinality(@buckets::text[]) = 0 OR b.bucket_id = ANY (@buckets::text[]))
 ORDER BY b.bundle_id, b.bucket_id
 LIMIT @max_rows::integer;

-- Changes of the bundles between two places of that order. Of a bundle too large for one answer, the
-- ordinals say which part.
-- name: ChangesBetween :many
SELECT c.bundle_id::bigint AS bundle_id, c.bucket_id::text AS bucket_id, c.row_ordinal::bigint AS row_ordinal,
       c.table_schema::text AS table_schema, c.table_name::text AS table_name, c.key::json AS key, c.op::text AS op,
       coalesce(c.payload, 'null')::json AS payload
  FROM tide.changes AS c
 WHERE c.bundle_id >= @after_bundle_id::bigint
   AND c.bundle_id <= @last_bundle_id::bigint
   AND (c.bundle_id, c.bucket_id) > (@after_bundle_id::bigint, @after_bucket_id::text)
   AND (c.bundle_id, c.bucket_id) <= (@last_bundle_id::bigint, @last_bucket_id::text)
   AND (cardinality(@buckets::text[]) = 0 OR c.bucket_id = ANY (@buckets::text[]))
   AND c.row_ordinal > @after_ordinal::bigint
   AND c.row_ordinal <= @last_ordinal::bigint
 ORDER BY c.bundle_id, c.bucket_id, c.row_ordinal;
