CREATE OR REPLACE FUNCTION tide.push_buckets(user_id text)
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN tide.is_cursor_push() THEN tide.buckets_of(user_id) ELSE ARRAY[tide.home_bucket(user_id)] END;
END;
$$;
COMMENT ON FUNCTION tide.push_buckets(text) IS 'Buckets that the device of a push hears of. Raises TD032. Internal.';
