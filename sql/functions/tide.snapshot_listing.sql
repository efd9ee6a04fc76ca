CREATE OR REPLACE FUNCTION tide.snapshot_listing(snap pg_snapshot, xid xid8)
    RETURNS pg_snapshot
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF xid >= pg_snapshot_xmax(snap) OR NOT pg_visible_in_snapshot(xid, snap) THEN
        RETURN snap;
    END IF;
    RETURN (SELECT format('%s:%s:%s', least(snapshot_listing.xid, pg_snapshot_xmin(snap)), pg_snapshot_xmax(snap), string_agg(x.xid::text, ',' ORDER BY x.xid))::pg_snapshot
              FROM (SELECT pg_snapshot_xip(snap) UNION SELECT snapshot_listing.xid) AS x (xid));
END;
$$;
COMMENT ON FUNCTION tide.snapshot_listing(pg_snapshot, xid8) IS 'The snapshot with one more transaction listed as in progress: a snapshot never lists its own. Internal.';
