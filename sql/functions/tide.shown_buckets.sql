CREATE OR REPLACE FUNCTION tide.shown_buckets(item json, may text[])
    RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN item -> 'buckets' IS NOT NULL
                THEN ARRAY(SELECT e.b FROM json_array_elements_text(item -> 'buckets') WITH ORDINALITY AS e (b, nth) WHERE may IS NULL OR e.b = ANY (may) ORDER BY e.nth) END;
COMMENT ON FUNCTION tide.shown_buckets(json, text[]) IS 'Buckets of a row of a snapshot session, those of may alone unless that is NULL; NULL for a v1 client. Internal.';
