CREATE OR REPLACE FUNCTION tide.snapshot_rows(user_id text, snapshot_id uuid, after_row_ordinal bigint DEFAULT 0, max_rows integer DEFAULT 1000)
    RETURNS TABLE (row_ordinal bigint, table_schema text, table_name text, key json, payload json, buckets text[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    -- Not in the query: the planner would call it too, to estimate rows.
    v_may   text[] := (tide.snapshot_session(user_id, snapshot_rows.snapshot_id)).may;
    v_shown jsonb;
BEGIN
    IF v_may IS NOT NULL THEN
        SELECT jsonb_object_agg(b, 0) INTO v_shown FROM unnest(v_may) AS b;
    END IF;
    IF after_row_ordinal IS NULL OR after_row_ordinal < 0 OR max_rows IS NULL OR max_rows < 1 THEN
        RAISE EXCEPTION 'chunk of a snapshot is not valid' USING ERRCODE = 'TD122', HINT = 'max_rows is at least 1, after_row_ordinal at least 0.';
    END IF;
    RETURN QUERY
    SELECT i.row_ordinal, s.table_schema, s.table_name, i.row_key, i.payload,
           CASE WHEN v_shown IS NULL OR jsonb_exists_all(v_shown, i.buckets) THEN i.buckets
                ELSE ARRAY(SELECT b FROM unnest(i.buckets) AS b WHERE jsonb_exists(v_shown, b)) END
      FROM tide.snapshot_page AS p JOIN tide.synced_table AS s ON s.table_id = p.table_id
     CROSS JOIN LATERAL unnest(p.items) AS i
     WHERE p.snapshot_id = snapshot_rows.snapshot_id
       AND p.page BETWEEN tide.snapshot_page_of(after_row_ordinal + 1) AND tide.snapshot_page_of(after_row_ordinal + max_rows)
       AND i.row_ordinal > after_row_ordinal AND i.row_ordinal <= after_row_ordinal + max_rows
     ORDER BY i.row_ordinal;
END;
$$;
COMMENT ON FUNCTION tide.snapshot_rows(text, uuid, bigint, integer) IS 'A chunk of a snapshot; rows count from 1. buckets are those of the device that the row lies in, NULL for a v1 client. Raises TD032, TD119 to TD122, TD134.';
