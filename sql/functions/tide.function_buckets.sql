CREATE OR REPLACE FUNCTION tide.function_buckets(buckets text[])
    RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(buckets) = 1 AND octet_length(buckets[1]) BETWEEN 1 AND 512 THEN
        RETURN buckets;
    END IF;
    IF (SELECT max(octet_length(b)) > 512 OR min(octet_length(b)) = 0 FROM unnest(buckets) AS b) THEN
        RAISE EXCEPTION 'bucket function returned a name that is empty or too long'
            USING ERRCODE = 'TD013',
                  DETAIL  = 'A bucket name has 1 to 512 bytes.',
                  HINT    = 'Mend the function; return NULL or an empty array for a row that nobody gets.';
    END IF;
    buckets := ARRAY(SELECT DISTINCT b COLLATE "C" AS b FROM unnest(buckets) AS b WHERE b IS NOT NULL ORDER BY b);
    IF cardinality(buckets) > 1000 THEN
        RAISE EXCEPTION 'bucket function returned too many buckets for one row'
            USING ERRCODE = 'TD013',
                  DETAIL  = format('It returned %s, at most 1000 are allowed.', cardinality(buckets)),
                  HINT    = 'Give rows that many people share a bucket of their own, and let each of them read it.';
    END IF;
    RETURN buckets;
END;
$$;
COMMENT ON FUNCTION tide.function_buckets(text[]) IS 'What a bucket function returned, without NULL and repetition. Raises TD013. Internal.';
