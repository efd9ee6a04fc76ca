-- Planned as a part of the query that it stands in, and its rows come in order without being sorted: where they must,
-- that query has hash and merge joins off, and nothing in parallel.
CREATE OR REPLACE FUNCTION tide.bundle_changes(xid xid8, consecutive boolean, first bigint, last bigint, changes bigint[], ops "char"[])
    RETURNS TABLE (nth bigint, op "char", table_id integer, row_key text, payload json, buckets text[], old_buckets text[])
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT e.nth, e.op, e.table_id, e.row_key, e.payload, e.buckets, e.old_buckets
      -- A long list is stored elsewhere, and fetched once here, not for each of its elements.
      FROM (SELECT bundle_changes.ops || '{}'::"char"[] AS ops OFFSET 0) AS o
     CROSS JOIN LATERAL (
           (SELECT l.change_id - bundle_changes.first + 1 AS nth, o.ops[l.change_id - bundle_changes.first + 1] AS op, l.table_id, l.row_key, l.payload, l.buckets, l.old_buckets
              FROM tide.change_log AS l
             WHERE bundle_changes.consecutive AND l.xid = bundle_changes.xid AND l.change_id >= bundle_changes.first AND l.change_id <= bundle_changes.last
             ORDER BY l.xid, l.change_id)
             UNION ALL
            -- One by one, by the key (OFFSET 0 keeps it so): statistics of many small transactions suggest worse.
            SELECT u.nth, u.op, c.table_id, c.row_key, c.payload, c.buckets, c.old_buckets
              FROM unnest(bundle_changes.changes, o.ops) WITH ORDINALITY AS u (change_id, op, nth)
             CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = bundle_changes.xid AND l.change_id = u.change_id OFFSET 0) AS c
             WHERE NOT bundle_changes.consecutive) AS e;
END;
COMMENT ON FUNCTION tide.bundle_changes(xid8, boolean, bigint, bigint, bigint[], "char"[]) IS
'The changes of a bundle, or of a part of it, in its order, counted from 1: those of the range where they are consecutive, else those that are listed. Internal.';
