CREATE OR REPLACE FUNCTION tide.snapshot_rows(user_id text, snapshot_id uuid, after_row_ordinal bigint DEFAULT 0, max_rows integer DEFAULT 1000)
    RETURNS TABLE (row_ordinal bigint, table_schema text, table_name text, key json, payload json, buckets text[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    -- Not in the query: the planner would call it too, to estimate rows.
    v_may text[] := (tide.snapshot_session(user_id, snapshot_rows.snapshot_id)).may;
BEGIN
    RETURN QUERY
    SELECT p.first_ordinal + i.nth - 1, i.item ->> 'schema', i.item ->> 'table', i.item -> 'key', i.item -> 'payload', tide.shown_buckets(i.item, v_may)
      FROM tide.snapshot_pages(snapshot_rows.snapshot_id, after_row_ordinal, max_rows) AS p
     CROSS JOIN LATERAL (SELECT n.item::json AS item, n.nth FROM unnest(p.items) WITH ORDINALITY AS n (item, nth) OFFSET 0) AS i
     ORDER BY 1;
END;
$$;
COMMENT ON FUNCTION tide.snapshot_rows(text, uuid, bigint, integer) IS 'A chunk of a snapshot; rows count from 1. buckets are those of the device that the row lies in, NULL for a v1 client. Raises TD032, TD119 to TD122, TD134.';
