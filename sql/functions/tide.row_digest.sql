-- Inlined where it is called, for every row: hence no body in quotes, which would need a search_path.
CREATE OR REPLACE FUNCTION tide.row_digest(value text)
    RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN substr(sha256(convert_to(value, 'UTF8')), 1, 8);
COMMENT ON FUNCTION tide.row_digest(text) IS 'The first eight bytes of the SHA-256 of a text. Internal.';
