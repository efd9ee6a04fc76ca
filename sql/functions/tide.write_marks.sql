CREATE OR REPLACE FUNCTION tide.write_marks(marks tide.table_mark[])
    RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO tide.change_log (table_id, op, payload) SELECT m.table_id, m.op, m.note FROM unnest(marks) AS m;
    INSERT INTO tide.missed_log (xid, table_id) SELECT pg_current_xact_id(), m.table_id FROM unnest(marks) AS m WHERE m.op = '!' ON CONFLICT DO NOTHING;
$$;
COMMENT ON FUNCTION tide.write_marks(tide.table_mark[]) IS 'Has the seal of this transaction read tables; pushes wait for those of which changes were missed. Internal.';
