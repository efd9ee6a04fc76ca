CREATE OR REPLACE FUNCTION tide.my_buckets()
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN current_setting('app.user_id', true) <> '' THEN tide.buckets_of(current_setting('app.user_id', true)) ELSE '{}' END;
END;
$$;
COMMENT ON FUNCTION tide.my_buckets() IS 'Buckets that the user of this transaction (app.user_id) may read: for policies, in a subquery, so that it is asked once a statement. Raises TD032.';
