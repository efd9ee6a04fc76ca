CREATE OR REPLACE FUNCTION tide.project_payload(payload json, columns jsonb)
    RETURNS json
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ('{' || string_agg(to_json(e.key)::text || ':' || e.value::text, ',' ORDER BY e.nth) || '}')::json
      FROM json_each(payload) WITH ORDINALITY AS e (key, value, nth)
     WHERE jsonb_exists(columns, e.key);
$$;
COMMENT ON FUNCTION tide.project_payload(json, jsonb) IS 'A payload with these columns alone; values keep their text.';
