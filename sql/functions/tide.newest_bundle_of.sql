-- Planned as a part of the query that it stands in. Among the newest of its bucket by its source and number:
-- what a seal moved by itself is of its last transaction too, and in another bundle.
-- + 0: the index of the bucket is the one that is meant.
CREATE OR REPLACE FUNCTION tide.newest_bundle_of(bucket text, push tide.push_log)
    RETURNS SETOF tide.bundle_log
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT l.*
      FROM (SELECT b.* FROM tide.bundle_log AS b
             WHERE b.bucket_id = bucket COLLATE "C"
               AND b.bundle_id + 0 <= (SELECT s.last_bundle_id FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1)
             ORDER BY b.bundle_seq DESC LIMIT 8) AS l
     WHERE l.xid = (push).xid AND l.source_id = (push).source_id AND l.source_bundle_id = (push).source_bundle_id;
END;
COMMENT ON FUNCTION tide.newest_bundle_of(text, tide.push_log) IS 'The bundle of a push, if it may be read and is among the newest of a bucket. Internal.';
