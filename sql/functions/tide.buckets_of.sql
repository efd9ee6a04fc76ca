-- The one place that says what a user may read. It fails closed: a function that raises hides everything.
CREATE OR REPLACE FUNCTION tide.buckets_of(user_id text)
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
    v_set     boolean;
    v_found   text[];
    v_buckets text[];
    v_problem text;
BEGIN
    IF v_setting.bucket_access IS NULL THEN
        RETURN ARRAY['global', tide.home_bucket(user_id)];
    END IF;
    BEGIN
        SELECT p.proretset INTO STRICT v_set FROM pg_proc AS p WHERE p.oid = v_setting.bucket_access::regprocedure;
        EXECUTE format(CASE WHEN v_set THEN 'SELECT array_agg(b) FROM %s($1) AS b' ELSE 'SELECT %s($1)' END, v_setting.bucket_access::regprocedure::regproc) INTO v_found USING user_id;
    EXCEPTION
        WHEN OTHERS THEN
            IF tide.is_retryable(sqlstate) THEN
                RAISE;
            END IF;
            -- Its text may hold what nobody else should read.
            v_problem := format('It raised %s.', sqlstate);
    END;
    IF v_problem IS NULL THEN
        v_buckets := ARRAY(SELECT b FROM unnest(v_found || tide.home_bucket(user_id)) AS b WHERE b IS NOT NULL GROUP BY b ORDER BY b COLLATE "C");
        SELECT CASE
                   WHEN count(*) > v_setting.max_buckets_per_user THEN format('It returned %s buckets, at most %s are allowed.', count(*), v_setting.max_buckets_per_user)
                   WHEN min(octet_length(b)) = 0 OR max(octet_length(b)) > 512 THEN 'A bucket name has 1 to 512 bytes.'
               END
          INTO v_problem
          FROM unnest(v_buckets) AS b;
    END IF;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'the access function % failed', v_setting.bucket_access
            USING ERRCODE = 'TD032', DETAIL = v_problem, HINT = 'Mend it, or name another one with tide.set_bucket_access. Until then nobody reads.';
    END IF;
    RETURN v_buckets;
END;
$$;
COMMENT ON FUNCTION tide.buckets_of(text) IS
'Buckets that a user may read now, sorted by bytes: his home bucket, and what the function named with tide.set_bucket_access says, or global without one. Raises TD032.';
