CREATE OR REPLACE FUNCTION tide.check_page(max_bundles integer, max_bytes bigint)
    RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF max_bundles IS NULL OR max_bundles NOT BETWEEN 1 AND 100000 OR max_bytes IS NULL OR max_bytes < 1 THEN
        RAISE EXCEPTION 'page size is not valid'
            USING ERRCODE = 'TD018',
                  DETAIL  = format('max_bundles is %s, max_bytes %s.', coalesce(max_bundles::text, 'NULL'), coalesce(max_bytes::text, 'NULL')),
                  HINT    = 'max_bundles is 1 to 100000, max_bytes at least 1.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.check_page(integer, bigint) IS 'Raises TD018 unless the bounds of a page make sense. Internal.';
