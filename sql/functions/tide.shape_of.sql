CREATE OR REPLACE FUNCTION tide.shape_of(tables jsonb)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.shape AS s (tables) VALUES (shape_of.tables) ON CONFLICT DO NOTHING;
    RETURN (SELECT s.shape_id FROM tide.shape AS s WHERE md5(s.tables::text) = md5(shape_of.tables::text));
END;
$$;
COMMENT ON FUNCTION tide.shape_of(jsonb) IS 'The number of a set of tables and columns. Internal.';
