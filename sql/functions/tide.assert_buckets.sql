CREATE OR REPLACE FUNCTION tide.assert_buckets(user_id text, buckets text[])
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Not in the query: the planner would call it too, to estimate rows.
    v_may text[] := tide.buckets_of(user_id);
BEGIN
    IF EXISTS (SELECT unnest(buckets) EXCEPT SELECT unnest(v_may)) THEN
        RAISE EXCEPTION 'not all of these buckets are this user''s'
            USING ERRCODE = 'TD134', HINT = 'Connect again: its answer says which are.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_buckets(text, text[]) IS 'Raises TD134 unless a user may read all of these buckets now, TD032.';
