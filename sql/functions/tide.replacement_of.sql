CREATE OR REPLACE FUNCTION tide.replacement_of(user_id text, source_id text)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT r.new_source_id FROM tide.source_replacement AS r WHERE r.user_id = replacement_of.user_id AND r.source_id = replacement_of.source_id);
END;
$$;
COMMENT ON FUNCTION tide.replacement_of(text, text) IS 'The source under which a replaced one goes on, NULL for one that was not replaced.';
