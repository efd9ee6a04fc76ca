-- Planned as a part of the query that it stands in, like tide.newest_bundle_of.
CREATE OR REPLACE FUNCTION tide.newest_bundle(push tide.push_log)
    RETURNS SETOF tide.bundle_log
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT l.*
      FROM (SELECT b.* FROM tide.bundle_log AS b
             WHERE b.bundle_id <= (SELECT s.last_bundle_id FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1)
             ORDER BY b.bundle_id DESC LIMIT 16) AS l
     WHERE l.xid = (push).xid AND l.source_id = (push).source_id AND l.source_bundle_id = (push).source_bundle_id
     LIMIT 1;
END;
COMMENT ON FUNCTION tide.newest_bundle(tide.push_log) IS 'A part of the bundle of a push, if it may be read and is among the newest of the log. Internal.';
