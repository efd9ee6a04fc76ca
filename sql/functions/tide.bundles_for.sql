-- A row of a bundle is judged over all buckets of the device that count there: one that it fetched at a
-- later position already does not count before that. What is there is what the change says of the row's
-- buckets, so that a row which left one bucket and stayed in another is an update.
-- Planned as a part of the query that it stands in, like tide.bundle_changes: that query has nested loops alone, as
-- to sort rows with their payloads would cost more than to find them, and gives variables. Most bundles touch one
-- bucket of a device: then nothing is put together.
CREATE OR REPLACE FUNCTION tide.bundles_for(counted jsonb, bundle_ids bigint[], bucket_ids text[], shape jsonb)
    RETURNS TABLE (
        bundle_id bigint, row_ordinal bigint, buckets text[], table_schema text, table_name text, row_key text, op text, payload json,
        source text, source_bundle_id bigint, sealed_at timestamptz, seal text, as_bundle boolean
    )
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT b.bundle_id, r.row_ordinal, r.buckets, r.table_schema, r.table_name, r.row_key, r.op,
           CASE WHEN r.op = 'DELETE' THEN NULL WHEN bundles_for.shape IS NULL THEN r.payload ELSE tide.project_payload(r.payload, bundles_for.shape -> (r.table_schema || '.' || r.table_name)) END,
           r.source, r.source_bundle_id, r.sealed_at, r.seal, r.buckets = b.buckets
      FROM (SELECT p.bundle_id, array_agg(p.bucket_id ORDER BY p.bucket_id COLLATE "C") AS buckets
              FROM unnest(bundles_for.bundle_ids, bundles_for.bucket_ids) AS p (bundle_id, bucket_id)
             GROUP BY p.bundle_id
             ORDER BY p.bundle_id) AS b
     -- What is of the transaction stands in each part of it.
     CROSS JOIN LATERAL (SELECT f.* FROM tide.bundle_log AS f WHERE f.bucket_id = b.buckets[1] COLLATE "C" AND f.bundle_id = b.bundle_id OFFSET 0) AS l
     CROSS JOIN LATERAL (
           SELECT NULL::bigint AS row_ordinal, b.buckets, NULL::text AS table_schema, NULL::text AS table_name, NULL::text AS row_key, NULL::text AS op, NULL::json AS payload,
                  coalesce(l.source_id, 'server') AS source, coalesce(l.source_bundle_id, b.bundle_id) AS source_bundle_id, l.sealed_at,
                  (SELECT s.seal_id || '-' || s.identity FROM tide.seal_log AS s WHERE s.seal_id = l.seal_id) AS seal
            UNION ALL
           SELECT row_number() OVER () - 1, j.buckets, t.table_schema, t.table_name, j.row_key,
                  CASE WHEN j.buckets = '{}' THEN 'DELETE' WHEN j.before THEN 'UPDATE' ELSE 'INSERT' END, j.payload, NULL, NULL, NULL, NULL
             FROM (SELECT c.table_id, c.row_key, c.payload,
                          c.op <> 'I' OR coalesce(cardinality(c.old_buckets), 0) > 0 AND EXISTS (SELECT FROM unnest(c.old_buckets) AS o WHERE (bundles_for.counted ->> o)::bigint < b.bundle_id) AS before,
                          CASE -- Rules over other tables are judged at sealing, and are not in the change itself.
                               WHEN c.buckets IS NULL THEN coalesce(c.listed, '{}')
                               WHEN c.buckets = b.buckets THEN b.buckets
                               ELSE ARRAY(SELECT h FROM unnest(c.buckets) AS h WHERE (bundles_for.counted ->> h)::bigint < b.bundle_id ORDER BY h COLLATE "C") END AS buckets
                     FROM (SELECT a.op, a.table_id, a.row_key, a.payload, a.buckets, a.old_buckets, CASE WHEN a.op <> 'D' THEN b.buckets END AS listed
                             FROM tide.bundle_changes(l.xid, l.consecutive, l.min_change_id, l.max_change_id, l.changes, l.ops) AS a
                            WHERE cardinality(b.buckets) = 1
                            UNION ALL
                           SELECT e.op, a.table_id, a.row_key, a.payload, a.buckets, a.old_buckets, e.listed
                             FROM (SELECT u.change_id, CASE WHEN bool_or(u.op <> 'I') THEN 'U' ELSE 'I' END::"char" AS op,
                                          array_agg(k.bucket_id ORDER BY k.nth) FILTER (WHERE u.op <> 'D') AS listed
                                     FROM unnest(b.buckets) WITH ORDINALITY AS k (bucket_id, nth)
                                    CROSS JOIN LATERAL (SELECT f.changes, f.ops FROM tide.bundle_log AS f WHERE f.bucket_id = k.bucket_id COLLATE "C" AND f.bundle_id = b.bundle_id OFFSET 0) AS p
                                    CROSS JOIN LATERAL unnest(p.changes, p.ops) AS u (change_id, op)
                                    GROUP BY u.change_id
                                    ORDER BY u.change_id) AS e
                            -- One by one, by the key (OFFSET 0 keeps it so): statistics of many small transactions suggest worse.
                            CROSS JOIN LATERAL (SELECT f.* FROM tide.change_log AS f WHERE f.xid = l.xid AND f.change_id = e.change_id OFFSET 0) AS a
                            WHERE cardinality(b.buckets) > 1) AS c
            OFFSET 0) AS j -- its columns are asked for more than once
             CROSS JOIN LATERAL tide.name_of(j.table_id) AS t
            WHERE bundles_for.shape IS NULL OR jsonb_exists(bundles_for.shape, t.table_schema || '.' || t.table_name)) AS r;
END;
COMMENT ON FUNCTION tide.bundles_for(jsonb, bigint[], text[], jsonb) IS
'Bundles as a device gets them that holds the buckets {"bucket": bundle_id} and knows the tables of shape (NULL for all): each is a row without row_ordinal, followed by its rows; as_bundle says that the buckets of a row are those of the bundle. Internal.';
