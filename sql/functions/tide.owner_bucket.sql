CREATE OR REPLACE FUNCTION tide.owner_bucket(prefix text, owner text)
    RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF octet_length(prefix || owner) > 512 THEN
        RAISE EXCEPTION 'bucket name is too long'
            USING ERRCODE = 'TD013',
                  DETAIL  = format('It would have %s bytes, at most 512 are allowed.', octet_length(prefix || owner)),
                  HINT    = 'Bucket names are keys of an index: use a short owner column.';
    END IF;
    RETURN ARRAY[prefix || owner];
END;
$$;
COMMENT ON FUNCTION tide.owner_bucket(text, text) IS 'Bucket of an owner whose type does not bound its length. Raises TD013. Internal.';
