CREATE OR REPLACE FUNCTION tide.push_groups(pushed tide.pushed_row[], by_op boolean)
    RETURNS TABLE (table_id integer, op "char", rls boolean, fk_depth integer, rows tide.pushed_row[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_alike boolean := cardinality(pushed) = 1;
BEGIN
    -- Most of the time they are of one kind.
    IF NOT v_alike THEN
        v_alike := NOT EXISTS (SELECT FROM unnest(pushed) AS r WHERE r.table_id <> pushed[1].table_id OR by_op AND r.op <> pushed[1].op);
    END IF;
    IF v_alike THEN
        RETURN QUERY SELECT s.table_id, CASE WHEN by_op THEN pushed[1].op END, pushed[1].rls, s.fk_depth, pushed FROM tide.synced_table AS s WHERE s.table_id = pushed[1].table_id;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT g.table_id, g.op, g.rls, s.fk_depth, g.rows
      FROM (SELECT r.table_id, CASE WHEN by_op THEN r.op END AS op, bool_or(r.rls) AS rls, array_agg(r) AS rows FROM unnest(pushed) AS r GROUP BY 1, 2) AS g
      JOIN tide.synced_table AS s ON s.table_id = g.table_id;
END;
$$;
COMMENT ON FUNCTION tide.push_groups(tide.pushed_row[], boolean) IS 'Pushed rows by table, and by operation if wanted. Internal.';
