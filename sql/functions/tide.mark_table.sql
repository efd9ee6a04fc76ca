CREATE OR REPLACE FUNCTION tide.mark_table(table_id integer, op "char", reason text, old_patterns text[] DEFAULT '{}')
    RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH marked AS (
        INSERT INTO tide.change_log (table_id, op, payload)
        SELECT s.table_id, mark_table.op,
               json_build_object('reason', reason, 'patterns', to_json(old_patterns || tide.bucket_patterns(s)))
          FROM tide.synced_table AS s
         WHERE s.table_id = mark_table.table_id
                -- Where rows went whose change nobody saw, their children and dependants went as well.
            OR mark_table.op = '!' AND s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id = mark_table.table_id)
        RETURNING xid, table_id, op
    )
    INSERT INTO tide.missed_log (xid, table_id) SELECT m.xid, m.table_id FROM marked AS m WHERE m.op = '!' ON CONFLICT DO NOTHING;
$$;
COMMENT ON FUNCTION tide.mark_table(integer, "char", text, text[]) IS 'Asks the seal of this transaction to read the table: A when every change was captured, ! when some may be missing. Internal.';
