CREATE OR REPLACE FUNCTION tide.scope_state(user_id text)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT CASE
                       WHEN EXISTS (SELECT FROM tide.scope AS s WHERE s.user_id = scope_state.user_id)
                            -- Rows of an existing application count as well.
                            OR EXISTS (SELECT FROM tide.bucket_floor AS b WHERE b.bucket_id = tide.home_bucket(scope_state.user_id)) THEN 'initialized'
                       WHEN EXISTS (SELECT FROM tide.scope_lease AS l WHERE l.user_id = scope_state.user_id AND l.expires_at > clock_timestamp()) THEN 'initializing'
                       ELSE 'uninitialized'
                   END);
END;
$$;
COMMENT ON FUNCTION tide.scope_state(text) IS 'How far a user''s home bucket is: uninitialized, initializing (a device holds the lease to fill it), or initialized.';
