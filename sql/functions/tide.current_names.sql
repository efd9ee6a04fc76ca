CREATE OR REPLACE FUNCTION tide.current_names(table_id integer, names text[])
    RETURNS text[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT ARRAY(
        SELECT c.current_name::text
          FROM unnest(names) WITH ORDINALITY AS n (name, ordinal)
          JOIN tide.synced_columns(table_id) AS c ON c.column_name = n.name
         ORDER BY n.ordinal));
END;
$$;
COMMENT ON FUNCTION tide.current_names(integer, text[]) IS 'What columns registered under these names are called now, without dropped ones. Internal.';
