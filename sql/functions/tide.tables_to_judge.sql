-- More changes than one value can hold, or anybody wants to follow one by one.
CREATE OR REPLACE FUNCTION tide.tables_to_judge(previous pg_snapshot)
    RETURNS tide.table_mark[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_changed integer[];
    v_count   bigint;
BEGIN
    SELECT array_agg(DISTINCT c.table_id), count(*) INTO v_changed, v_count
      FROM tide.sealable_ranges(previous) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
     WHERE c.table_id IN (SELECT b.source_id FROM tide.bucket_source AS b);
    IF v_count > (SELECT s.seal_max_judged FROM tide.setting AS s) THEN
        RETURN (SELECT array_agg(ROW(s.table_id, '!', NULL, json_build_object('reason', 'many changes'))::tide.table_mark)
                  FROM tide.synced_table AS s
                 WHERE s.derived AND s.unregistered_at IS NULL
                   AND s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id = ANY (v_changed)));
    END IF;
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION tide.tables_to_judge(pg_snapshot) IS 'Marks for tables with derived rules that a seal judges as a whole, because more than seal_max_judged changes since a snapshot may have moved their rows; NULL when these are few. Internal.';
