CREATE OR REPLACE FUNCTION tide.home_bucket(user_id text)
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'user:' || user_id;
COMMENT ON FUNCTION tide.home_bucket(text) IS 'The bucket of a user''s own rows.';
