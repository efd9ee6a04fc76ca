CREATE OR REPLACE FUNCTION tide.set_fk_depths()
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE tide.synced_table AS s SET fk_depth = 0 WHERE s.fk_depth <> 0;
    -- A cycle is left after as many rounds as anybody nests tables: it needs deferrable keys, whatever the order.
    FOR v_round IN 1 .. 50 LOOP
        UPDATE tide.synced_table AS child
           SET fk_depth = above.depth + 1
          FROM (SELECT c.conrelid, max(parent.fk_depth) AS depth
                  FROM pg_constraint AS c
                  JOIN tide.synced_table AS parent ON parent.relation = c.confrelid
                 WHERE c.contype = 'f' AND c.conrelid <> c.confrelid AND c.conparentid = 0
                 GROUP BY c.conrelid) AS above
         WHERE child.relation = above.conrelid AND child.fk_depth <= above.depth;
        EXIT WHEN NOT FOUND;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.set_fk_depths() IS 'Orders synced tables by their foreign keys: parents before children. Internal.';
