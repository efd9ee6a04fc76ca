-- name: Head :one
SELECT tide.head()::bigint AS bundle_id;

-- name: ChangesBetween :many
SELECT c.bundle_id::bigint AS bundle_id, c.bucket_id::text AS bucket_id, c.bundle_seq::bigint AS bundle_seq,
       c.table_schema::text AS table_schema, c.table_name::text AS table_name, c.key::json AS key, c.op::text AS op,
       coalesce(c.payload, 'null')::json AS payload,
       c.source_id::text AS source_id, c.source_bundle_id::bigint AS source_bundle_id, c.sealed_at::timestamptz AS sealed_at
  FROM tide.changes AS c
 WHERE c.bundle_id > @after_bundle_id::bigint
   AND c.bundle_id <= @up_to_bundle_id::bigint
   AND (cardinality(@buckets::text[]) = 0 OR c.bucket_id = ANY (@buckets::text[]))
 ORDER BY c.bundle_id, c.bucket_id, c.row_ordinal;
