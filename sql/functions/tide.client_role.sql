CREATE OR REPLACE FUNCTION tide.client_role(policy text)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT CASE WHEN policy = 'rls' THEN s.client_role::text ELSE current_setting('role') END FROM tide.setting AS s);
END;
$$;
COMMENT ON FUNCTION tide.client_role(text) IS 'Role as which the steps of a push are run for a table of this push policy. Internal.';
