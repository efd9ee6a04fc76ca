CREATE OR REPLACE FUNCTION tide.is_committed(user_id text, source_id text, source_bundle_id bigint)
    RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM tide.push_log AS p
                    WHERE p.user_id = is_committed.user_id AND p.source_id = is_committed.source_id AND p.source_bundle_id = is_committed.source_bundle_id);
END;
$$;
COMMENT ON FUNCTION tide.is_committed(text, text, bigint) IS 'Whether a push with this number was accepted.';
