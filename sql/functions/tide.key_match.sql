CREATE OR REPLACE FUNCTION tide.key_match(table_id integer, row_alias text, other_alias text)
    RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('%s.%I OPERATOR(%s) %s.%I', row_alias, k.column_name, k.equality, other_alias, k.column_name), ' AND ')
      FROM tide.key_equality(table_id) AS k;
$$;
COMMENT ON FUNCTION tide.key_match(integer, text, text) IS 'SQL expression: two rows of a synced table have the same key, by the index on it. Internal.';
