CREATE OR REPLACE FUNCTION tide.source_kind(user_id text, source_id text)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((SELECT s.kind FROM tide.source AS s WHERE s.user_id = source_kind.user_id AND s.source_id = source_kind.source_id), 'v1');
END;
$$;
COMMENT ON FUNCTION tide.source_kind(text, text) IS 'v1 for a device that reads its home bucket, cursor for one that reads many.';
