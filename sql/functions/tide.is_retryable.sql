CREATE OR REPLACE FUNCTION tide.is_retryable(sqlstate text)
    RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN left(sqlstate, 2) IN ('08', '40', '53', '57', '58', 'XX') OR sqlstate IN ('25006', '55P03', 'TD126');
COMMENT ON FUNCTION tide.is_retryable(text) IS 'Whether an error says something about the server, not about what was asked: the same may succeed later. Internal.';
