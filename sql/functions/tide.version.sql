CREATE OR REPLACE FUNCTION tide.version()
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '0.1.0';
COMMENT ON FUNCTION tide.version() IS 'Version of pgtide whose routines are installed.';
