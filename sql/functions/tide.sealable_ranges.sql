-- Ranges between transactions that still run, and not one range over all: a bulk load that is open
-- for an hour must not have its rows looked at by every seal of that hour.
CREATE OR REPLACE FUNCTION tide.sealable_ranges(previous pg_snapshot, OUT above xid8, OUT below xid8)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    -- Most of the time nothing ran, then and now: that is seen without a query.
    IF pg_snapshot_xmin(previous) = pg_snapshot_xmax(previous) AND right(pg_current_snapshot()::text, 1) = ':' THEN
        above := (pg_snapshot_xmax(previous)::text::bigint - 1)::text::xid8;
        below := pg_snapshot_xmax(pg_current_snapshot());
        RETURN NEXT;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT e.xid, lead(e.xid) OVER (ORDER BY e.xid)
      FROM (SELECT (pg_snapshot_xmax(previous)::text::bigint - 1)::text::xid8
             UNION ALL
            SELECT x FROM pg_snapshot_xip(pg_current_snapshot()) AS x WHERE x >= pg_snapshot_xmax(previous)
             UNION ALL
            SELECT pg_snapshot_xmax(pg_current_snapshot()) WHERE pg_snapshot_xmax(pg_current_snapshot()) >= pg_snapshot_xmax(previous)) AS e (xid)
     UNION ALL
    SELECT (x::text::bigint - 1)::text::xid8, (x::text::bigint + 1)::text::xid8
      FROM pg_snapshot_xip(previous) AS x
     WHERE pg_visible_in_snapshot(x, pg_current_snapshot());
END;
$$;
COMMENT ON FUNCTION tide.sealable_ranges(pg_snapshot) IS 'Open ranges of transaction ids that ended since a snapshot, by the snapshot of the calling statement. Internal.';
