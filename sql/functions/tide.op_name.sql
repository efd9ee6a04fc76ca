CREATE OR REPLACE FUNCTION tide.op_name(op "char")
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' END;
COMMENT ON FUNCTION tide.op_name("char") IS 'Name of an operation on the wire. Internal.';
