-- Nearly always none: the planner must not prepare for millions, and a seal without marks must not
-- look at every bucket there is. Hence a function, whose SET keeps it from being inlined.
CREATE OR REPLACE FUNCTION tide.noted_buckets(notes json[])
    RETURNS SETOF text
    LANGUAGE sql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.bucket_id
      FROM unnest(notes) AS n (note)
     CROSS JOIN LATERAL json_array_elements_text(n.note -> 'patterns') AS p (pattern)
      JOIN tide.bucket_floor AS b
        ON CASE WHEN starts_with(p.pattern, '=') THEN b.bucket_id = substr(p.pattern, 2) ELSE starts_with(b.bucket_id, substr(p.pattern, 2)) END;
$$;
COMMENT ON FUNCTION tide.noted_buckets(json[]) IS 'Known buckets that the patterns of marks (=name, or ^prefix) stand for: their devices must fetch a snapshot. Internal.';
