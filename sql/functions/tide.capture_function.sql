CREATE OR REPLACE FUNCTION tide.capture_function(table_id integer, event text)
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN format('capture_%s_%s', table_id, lower(event));
COMMENT ON FUNCTION tide.capture_function(integer, text) IS 'Name, in schema tide, of the capture function of one event of a table. Internal.';
