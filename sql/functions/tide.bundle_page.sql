-- Planned as a part of the query that it stands in, like tide.bundle_changes.
CREATE OR REPLACE FUNCTION tide.bundle_page(bundle tide.bundle_log, first bigint, last bigint)
    RETURNS TABLE (nth bigint, table_schema text, table_name text, key json, op text, payload json, source_id text, source_bundle_id bigint)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.nth, s.table_schema, s.table_name, c.row_key::json, CASE c.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' ELSE 'DELETE' END,
           CASE WHEN c.op <> 'D' THEN c.payload END, coalesce((bundle).source_id, 'server'), coalesce((bundle).source_bundle_id, (bundle).bundle_id)
      FROM tide.bundle_changes((bundle).xid, (bundle).consecutive, (bundle).min_change_id + first - 1, (bundle).min_change_id + last - 1,
                               (bundle).changes[first : last], (bundle).ops[first : last]) AS c
      CROSS JOIN LATERAL tide.name_of(c.table_id) AS s;
END;
COMMENT ON FUNCTION tide.bundle_page(tide.bundle_log, bigint, bigint) IS 'The changes of a bundle from the first to the last, both counted from 1, in its order; nth counts from the first. Internal.';
