CREATE OR REPLACE FUNCTION tide.assert_buckets(user_id text, buckets text[])
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT unnest(buckets) EXCEPT SELECT unnest(tide.buckets_of(user_id))) THEN
        RAISE EXCEPTION 'not all of these buckets are this user''s'
            USING ERRCODE = 'TD134', HINT = 'Connect again: its answer says which are.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_buckets(text, text[]) IS 'Raises TD134 unless a user may read all of these buckets now, TD032.';
