CREATE OR REPLACE FUNCTION tide.snapshot_chunk(user_id text, snapshot_id uuid, after_row_ordinal bigint DEFAULT 0, max_rows integer DEFAULT 1000)
    RETURNS TABLE (row_count integer, rows text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_may text[] := (tide.snapshot_session(user_id, snapshot_chunk.snapshot_id)).may;
BEGIN
    RETURN QUERY
    SELECT cardinality(p.items),
           CASE WHEN v_may IS NULL THEN array_to_string(p.items, ',')
                -- The buckets are what a row ends with.
                ELSE (SELECT string_agg(left(n.item, -1 - length(n.item::json ->> 'buckets')) || to_json(tide.shown_buckets(n.item::json, v_may)) || '}', ',' ORDER BY n.nth)
                        FROM unnest(p.items) WITH ORDINALITY AS n (item, nth)) END
      FROM tide.snapshot_pages(snapshot_chunk.snapshot_id, after_row_ordinal, max_rows) AS p
     ORDER BY p.first_ordinal;
END;
$$;
COMMENT ON FUNCTION tide.snapshot_chunk(text, uuid, bigint, integer) IS 'A chunk of a snapshot as a device gets it: some rows at a time as JSON with commas between them, and how many they are. Raises what tide.snapshot_rows does.';
