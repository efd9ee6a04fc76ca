CREATE OR REPLACE FUNCTION tide.push_schemas(path text)
    RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(replace(trim(both '"' from s.name), '""', '"') ORDER BY s.nth) FILTER (WHERE s.name NOT IN ('', '""', '"$user"', '$user', 'pg_temp')), '{}')
      FROM (SELECT trim(both FROM p) AS name, nth FROM unnest(string_to_array(path, ',')) WITH ORDINALITY AS p (p, nth)) AS s;
$$;
COMMENT ON FUNCTION tide.push_schemas(text) IS 'Schemas of a search_path as it is written, without $user and pg_temp. Internal.';
