CREATE OR REPLACE FUNCTION tide.check_buckets(table_name regclass)
    RETURNS TABLE (key json, stored text[], computed text[], error text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_table tide.synced_table := tide.registered_table(check_buckets.table_name);
BEGIN
    RETURN QUERY
    SELECT j.row_key::json, j.before, j.after, coalesce(j.error, j.row_error)
      FROM tide.judge_rules(NULL, ARRAY[v_table.table_id], ARRAY['!'], v_table.table_id) AS j
     WHERE (j.before <> j.after OR j.error IS NOT NULL OR j.row_error IS NOT NULL)
       AND j.row_key NOT IN (SELECT p.row_key FROM tide.pending_moves(v_table.table_id) AS p);
END;
$$;
COMMENT ON FUNCTION tide.check_buckets(regclass) IS
'Rows of a table with derived rules whose stored buckets are not what the rule says now, but for rows that the next seal judges anyway. Reads the whole table. No row is what there should be; otherwise a rule looks at something that was not declared. Raises TD009, TD126.';
