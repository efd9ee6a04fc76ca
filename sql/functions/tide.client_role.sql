CREATE OR REPLACE FUNCTION tide.client_role()
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT s.client_role FROM tide.setting AS s);
END;
$$;
COMMENT ON FUNCTION tide.client_role() IS 'Role as which the steps of a push are run for tables whose policies decide. Internal.';
