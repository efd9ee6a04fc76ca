CREATE OR REPLACE FUNCTION tide.bundles_for(counted jsonb, bundle_ids bigint[], bucket_ids text[], shape jsonb)
    RETURNS TABLE (
        bundle_id bigint, row_ordinal bigint, buckets text[], table_schema text, table_name text, key json, op text, payload json,
        source text, source_bundle_id bigint, sealed_at timestamptz, seal text
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH part AS MATERIALIZED (
        SELECT l.bundle_id, l.bucket_id, l.xid, l.seal_id, l.changes, l.ops, l.source_id, l.source_bundle_id, l.sealed_at
          FROM unnest(bundle_ids, bucket_ids) AS p (bundle_id, bucket_id)
         CROSS JOIN LATERAL (SELECT b.* FROM tide.bundle_log AS b WHERE b.bucket_id = p.bucket_id COLLATE "C" AND b.bundle_id = p.bundle_id OFFSET 0) AS l
    ), entry AS (
        SELECT p.bundle_id, p.xid, e.change_id, bool_or(e.op <> 'I') AS before, array_agg(p.bucket_id::text ORDER BY p.bucket_id) FILTER (WHERE e.op <> 'D') AS listed
          FROM part AS p
         CROSS JOIN LATERAL unnest(p.changes, p.ops) AS e (change_id, op)
         GROUP BY p.bundle_id, p.xid, e.change_id
    ), judged AS (
        SELECT e.bundle_id, e.change_id, c.table_id, c.row_key, c.payload,
               e.before OR EXISTS (SELECT FROM unnest(c.old_buckets) AS b WHERE (counted ->> b)::bigint < e.bundle_id) AS before,
               -- Rules over other tables are judged at sealing, and are not in the change itself.
               CASE WHEN c.buckets IS NULL THEN coalesce(e.listed, '{}')
                    ELSE ARRAY(SELECT b FROM unnest(c.buckets) AS b WHERE (counted ->> b)::bigint < e.bundle_id ORDER BY b COLLATE "C") END AS buckets
          FROM entry AS e
         -- One by one, by the key: statistics of many small transactions suggest worse.
         CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = e.xid AND l.change_id = e.change_id OFFSET 0) AS c
    )
    SELECT b.bundle_id, NULL::bigint, b.buckets, NULL::text, NULL::text, NULL::json, NULL::text, NULL::json,
           b.source, b.source_bundle_id, b.sealed_at, s.seal_id || '-' || s.identity
      FROM (SELECT p.bundle_id, array_agg(p.bucket_id::text ORDER BY p.bucket_id) AS buckets, coalesce(min(p.source_id), 'server') AS source,
                   coalesce(min(p.source_bundle_id), p.bundle_id) AS source_bundle_id, min(p.sealed_at) AS sealed_at, min(p.seal_id) AS seal_id
              FROM part AS p GROUP BY p.bundle_id) AS b
      JOIN tide.seal_log AS s ON s.seal_id = b.seal_id
     UNION ALL
    SELECT j.bundle_id, row_number() OVER (PARTITION BY j.bundle_id ORDER BY j.change_id) - 1, j.buckets, t.table_schema, t.table_name, j.row_key::json,
           CASE WHEN j.buckets = '{}' THEN 'DELETE' WHEN j.before THEN 'UPDATE' ELSE 'INSERT' END,
           CASE WHEN j.buckets = '{}' THEN NULL WHEN shape IS NULL THEN j.payload ELSE tide.project_payload(j.payload, shape -> (t.table_schema || '.' || t.table_name)) END,
           NULL, NULL, NULL, NULL
      FROM judged AS j
      JOIN tide.synced_table AS t ON t.table_id = j.table_id
     WHERE shape IS NULL OR jsonb_exists(shape, t.table_schema || '.' || t.table_name)
     ORDER BY 1, 2 NULLS FIRST;
END;
$$;
COMMENT ON FUNCTION tide.bundles_for(jsonb, bigint[], text[], jsonb) IS
'Bundles as a device gets them that holds the buckets {"bucket": bundle_id} and knows the tables of shape (NULL for all): each is a row without row_ordinal, followed by its rows. Internal.';
