CREATE OR REPLACE FUNCTION tide.mark_table(table_id integer, op "char", reason text, old_patterns text[] DEFAULT '{}')
    RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT tide.write_marks(ARRAY(
        SELECT ROW(s.table_id, mark_table.op, NULL, json_build_object('reason', reason, 'patterns', to_json(old_patterns || tide.bucket_patterns(s))))::tide.table_mark
          FROM tide.synced_table AS s
         WHERE s.table_id = mark_table.table_id
                -- Where rows went whose change nobody saw, their children and dependants went as well.
            OR mark_table.op = '!' AND s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id = mark_table.table_id)));
$$;
COMMENT ON FUNCTION tide.mark_table(integer, "char", text, text[]) IS 'Asks the seal of this transaction to read the table: A when every change was captured, ! when some may be missing. Internal.';
