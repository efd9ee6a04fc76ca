-- Nearly always none: the planner must not prepare for millions. Its SET keeps it from being inlined.
CREATE OR REPLACE FUNCTION tide.noted_patterns(notes json[])
    RETURNS SETOF text
    LANGUAGE sql IMMUTABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.pattern FROM unnest(notes) AS n (note) CROSS JOIN LATERAL json_array_elements_text(n.note -> 'patterns') AS p (pattern);
$$;
COMMENT ON FUNCTION tide.noted_patterns(json[]) IS 'Bucket patterns of marks (=name, or ^prefix) whose devices must fetch a snapshot. Internal.';
