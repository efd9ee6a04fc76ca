-- Few floors are newer than a position, so they are looked up by position, whatever the number of buckets.
CREATE OR REPLACE FUNCTION tide.lost_buckets(held jsonb, after_bundle_id bigint)
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT f.bucket_id
          FROM tide.bucket_floor AS f
         WHERE f.reason <> 'born' AND f.floor_bundle_id > after_bundle_id AND f.floor_bundle_id > (held ->> f.bucket_id)::bigint
         ORDER BY f.bucket_id);
END;
$$;
COMMENT ON FUNCTION tide.lost_buckets(jsonb, bigint) IS 'Which of the held buckets have a floor above the position of the device: their bundles alone do not give their rows. Internal.';
