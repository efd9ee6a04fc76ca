-- name: Check :many
SELECT c.severity::text AS severity, coalesce(c.table_name, '')::text AS table_name, c.finding::text AS finding,
       coalesce(c.detail, '')::text AS detail, coalesce(c.remedy, '')::text AS remedy
  FROM tide.check() AS c;
