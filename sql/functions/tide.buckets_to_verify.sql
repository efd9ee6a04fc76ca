CREATE OR REPLACE FUNCTION tide.buckets_to_verify(user_id text, buckets text[])
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'checksums must be taken under REPEATABLE READ'
            USING ERRCODE = 'TD128',
                  DETAIL  = 'All rows must be read as they were when the position was sealed.',
                  HINT    = 'BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE; SELECT tide.seal(); and this, in one transaction.';
    END IF;
    PERFORM tide.assert_scope(user_id);
    IF buckets IS NULL THEN
        RETURN ARRAY[tide.home_bucket(user_id)];
    END IF;
    IF cardinality(buckets) NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'this is no list of buckets to verify'
            USING ERRCODE = 'TD135', DETAIL = format('It has %s.', cardinality(buckets)), HINT = 'Name 1 to 1000, or leave the list out for the home bucket.';
    END IF;
    PERFORM tide.assert_buckets(user_id, buckets);
    RETURN buckets;
END;
$$;
COMMENT ON FUNCTION tide.buckets_to_verify(text, text[]) IS 'The buckets that a user asks for, NULL for his home bucket, if he may read them. Raises TD032, TD108, TD109, TD128, TD134, TD135. Internal.';
