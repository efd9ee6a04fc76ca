CREATE OR REPLACE FUNCTION tide.bucket_position(bucket_id text, OUT floor_seq bigint, OUT head_seq bigint)
    RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    SELECT coalesce(f.floor_seq, 0), greatest(coalesce(l.bundle_seq, 0), coalesce(f.floor_seq, 0))
      INTO floor_seq, head_seq
      FROM (SELECT) AS one
      LEFT JOIN LATERAL (
               SELECT b.bundle_seq
                 FROM tide.bundle_log AS b
                WHERE b.bucket_id = bucket_position.bucket_id AND b.bundle_id <= (SELECT tide.head())
                ORDER BY b.bundle_seq DESC LIMIT 1) AS l ON true
      LEFT JOIN LATERAL (
               SELECT b.floor_seq FROM tide.bucket_floor AS b WHERE b.bucket_id = bucket_position.bucket_id
                ORDER BY b.floor_seq DESC LIMIT 1) AS f ON true;
END;
$$;
COMMENT ON FUNCTION tide.bucket_position(text) IS 'Floor and head of a bucket: a reader at any position between them misses nothing by reading on.';
