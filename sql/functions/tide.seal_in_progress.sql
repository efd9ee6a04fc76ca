-- Asked after every seal: a function keeps its plan, where the view tide.lag is planned at each call.
CREATE OR REPLACE FUNCTION tide.seal_in_progress()
    RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT s.cut_change_id IS NOT NULL FROM tide.seal_log AS s ORDER BY s.seal_id DESC LIMIT 1);
END;
$$;
COMMENT ON FUNCTION tide.seal_in_progress() IS 'The newest seal is a step of a long one: tide.seal() is to be called again.';
