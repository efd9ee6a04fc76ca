CREATE OR REPLACE FUNCTION tide.snapshot_pages(snapshot_id uuid, after_row_ordinal bigint, max_rows integer)
    RETURNS TABLE (first_ordinal bigint, items text[])
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_last bigint := after_row_ordinal + max_rows;
BEGIN
    IF after_row_ordinal IS NULL OR after_row_ordinal < 0 OR max_rows IS NULL OR max_rows < 1 THEN
        RAISE EXCEPTION 'chunk of a snapshot is not valid' USING ERRCODE = 'TD122', HINT = 'max_rows is at least 1, after_row_ordinal at least 0.';
    END IF;
    RETURN QUERY
    SELECT greatest(p.first_ordinal, after_row_ordinal + 1),
           CASE WHEN p.first_ordinal > after_row_ordinal AND p.first_ordinal + cardinality(p.items) - 1 <= v_last THEN p.items
                ELSE p.items[greatest(1, after_row_ordinal - p.first_ordinal + 2):v_last - p.first_ordinal + 1] END
      FROM tide.snapshot_page AS p
     WHERE p.snapshot_id = snapshot_pages.snapshot_id
       AND p.first_ordinal >= (SELECT max(f.first_ordinal) FROM tide.snapshot_page AS f WHERE f.snapshot_id = snapshot_pages.snapshot_id AND f.first_ordinal <= after_row_ordinal + 1)
       AND p.first_ordinal <= v_last AND p.first_ordinal + cardinality(p.items) - 1 > after_row_ordinal
     ORDER BY p.first_ordinal;
END;
$$;
COMMENT ON FUNCTION tide.snapshot_pages(uuid, bigint, integer) IS 'Rows of a snapshot session after an ordinal, page by page; of the first page and the last only what belongs to the chunk. Raises TD122. Internal.';
