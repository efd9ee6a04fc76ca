CREATE OR REPLACE FUNCTION tide.set_bucket_sources()
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_circle text;
BEGIN
    DELETE FROM tide.bucket_source;
    WITH RECURSIVE link AS (
        SELECT s.table_id, p.table_id AS parent_id FROM tide.synced_table AS s CROSS JOIN LATERAL unnest(s.parents) AS r JOIN tide.synced_table AS p ON p.relation = r
         WHERE s.unregistered_at IS NULL
    ), reach AS (
        SELECT s.table_id, s.table_id AS source_id FROM tide.synced_table AS s WHERE s.derived AND s.unregistered_at IS NULL
         UNION
        SELECT r.table_id, l.parent_id FROM reach AS r JOIN link AS l ON l.table_id = r.source_id
    ), stored AS (
        INSERT INTO tide.bucket_source (table_id, source_id)
        SELECT r.table_id, r.source_id FROM reach AS r
         UNION
        -- A function looks at rows, not at their buckets: what these hang on is no matter of its own.
        SELECT r.table_id, d.source_id FROM reach AS r JOIN tide.bucket_dependency AS d ON d.table_id = r.source_id
    )
    SELECT string_agg(DISTINCT s.relation::text, ', ')
      INTO v_circle
      FROM reach AS a
      JOIN reach AS b ON b.table_id = a.source_id AND b.source_id = a.table_id
      JOIN tide.synced_table AS s ON s.table_id = a.table_id
     WHERE a.table_id <> a.source_id;
    IF v_circle IS NOT NULL THEN
        RAISE EXCEPTION 'buckets of these tables would hang on each other'
            USING ERRCODE = 'TD020',
                  DETAIL  = format('In the circle: %s.', v_circle),
                  HINT    = 'Let one of them take its buckets from elsewhere. A table may be its own parent: that is a tree.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.set_bucket_sources() IS 'Works out which tables the buckets of which hang on. Raises TD020. Internal.';
