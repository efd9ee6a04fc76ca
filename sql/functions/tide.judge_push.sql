-- A row is in conflict when it is there and should not be, when it is not and should, or when the
-- log holds a later change of it than the version the device made its own upon. Changes of one key
-- by several transactions are drawn in the order in which these committed, so the newest counts.
-- A version is a position of the home bucket, and stands for all that was sealed up to its bundle; from a
-- device that reads many buckets it is a bundle_id. What such a one made upon a version before the table was
-- last read again, the log cannot tell: it is in conflict with the row as it is.
CREATE OR REPLACE FUNCTION tide.judge_push(
    user_id text, rows tide.pushed_row[], live bigint[], dead boolean[],
    OUT ordinal bigint, OUT row_exists boolean, OUT deleted boolean, OUT changed_by xid8, OUT pruned boolean
)
    RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_mergejoin = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_home  text COLLATE "C" := tide.home_bucket(user_id);
    v_mine  text[];
    v_many  boolean := tide.is_cursor_push();
    v_floor bigint := 0;
    v_head  bigint := 0;
    v_missed boolean;
    v_paused boolean;
    v_fresh  tide.change_log[];
    v_hashes bigint[] := ARRAY(SELECT r.key_hash FROM unnest(rows) AS r);
BEGIN
    SELECT EXISTS (SELECT FROM tide.missed_log), s.paused_at IS NOT NULL INTO v_missed, v_paused FROM tide.setting AS s;
    IF v_missed THEN
        v_missed := EXISTS (SELECT FROM tide.missed_log AS m
                             WHERE m.table_id IN (SELECT r.table_id FROM unnest(rows) AS r)
                               AND NOT pg_visible_in_snapshot(m.xid, (SELECT s.snap FROM tide.seal_log AS s ORDER BY s.seal_id DESC LIMIT 1)));
    END IF;
    IF v_missed OR v_paused THEN
        RAISE EXCEPTION 'capture is paused, or changes of a table were missed and it was not read again yet'
            USING ERRCODE = 'TD126', HINT = 'Try again; SELECT * FROM tide.check() says more.';
    END IF;
    -- Rows that were all new: nothing of their keys is known, as a rule.
    -- In two steps: what is not asked costs nothing.
    IF live IS NULL THEN
        IF NOT EXISTS (SELECT FROM tide.key_log AS l WHERE l.key_hash = ANY (v_hashes))
           AND NOT EXISTS (SELECT FROM tide.unsealed_changes() AS u WHERE u.key_hash = ANY (v_hashes)) THEN
            RETURN;
        END IF;
    END IF;
    -- Asked for before what is sealed: a seal that comes between takes nothing away.
    v_fresh := ARRAY(SELECT u FROM tide.unsealed_changes() AS u WHERE u.op IN ('I', 'U', 'D') AND u.key_hash = ANY (v_hashes));
    IF v_many THEN
        v_head := tide.head();
    ELSIF EXISTS (SELECT FROM unnest(rows) AS r WHERE r.base <> 0) THEN
        SELECT p.floor_seq, p.head_seq INTO v_floor, v_head FROM tide.bucket_position(v_home) AS p;
    END IF;
    -- Most of the time the newest change of each row is in the very bundle that the device names, or there is none.
    IF cardinality(v_fresh) = 0 AND NOT EXISTS (
        SELECT FROM unnest(rows) AS r
          LEFT JOIN unnest(live, dead) AS l (ordinal, dead) ON l.ordinal = r.ordinal
         CROSS JOIN LATERAL (
                   SELECT (SELECT k.xid FROM tide.key_log AS k
                            CROSS JOIN LATERAL (SELECT l.op, l.table_id, l.row_key FROM tide.change_log AS l WHERE l.xid = k.xid AND l.change_id = k.change_id OFFSET 0) AS c
                            WHERE k.key_hash = r.key_hash AND c.table_id = r.table_id AND c.row_key = r.row_key COLLATE "C" AND c.op IN ('I', 'U', 'D')
                            ORDER BY k.change_id DESC LIMIT 1) AS xid OFFSET 0) AS c -- asked once, not wherever it is named
         WHERE CASE WHEN r.op = 'I' THEN l.ordinal IS NOT NULL OR r.base <> 0 OR c.xid IS NOT NULL
                    ELSE v_many OR l.dead IS DISTINCT FROM false OR r.base = 0 OR r.base NOT BETWEEN v_floor AND v_head
                         OR c.xid IS NOT NULL AND (c.xid <> (SELECT b.xid FROM tide.bundle_log AS b WHERE b.bucket_id = v_home AND b.bundle_seq = r.base)) IS NOT FALSE
               END) THEN
        RETURN;
    END IF;
    v_mine := tide.push_buckets(user_id);
    RETURN QUERY
    WITH base AS MATERIALIZED (
        SELECT d.base, s.snap, before.snap AS snap_before, b.bundle_id IS NULL OR b.bundle_id = s.last_bundle_id AS is_last,
               (SELECT max(c.change_id) FROM tide.change_log AS c WHERE c.xid = b.xid AND c.op <> 'M') AS last_change_id
          FROM (SELECT DISTINCT r.base FROM unnest(rows) AS r WHERE r.base BETWEEN v_floor AND v_head AND r.base > 0) AS d
          LEFT JOIN LATERAL (SELECT l.bundle_id, l.seal_id, l.xid FROM tide.bundle_log AS l WHERE NOT v_many AND l.bucket_id = v_home AND l.bundle_seq = d.base
                              UNION ALL
                             (SELECT l.bundle_id, l.seal_id, l.xid FROM tide.bundle_log AS l WHERE v_many AND l.bundle_id = d.base LIMIT 1)) AS b ON true
          LEFT JOIN LATERAL (SELECT f.seal_id FROM tide.bucket_floor AS f WHERE NOT v_many AND f.bucket_id = v_home AND f.floor_seq = d.base
                              UNION ALL
                             SELECT o.seal_id FROM tide.seal_of(d.base) AS o WHERE v_many AND b.seal_id IS NULL) AS f ON true
          JOIN tide.seal_log AS s ON s.seal_id = coalesce(b.seal_id, f.seal_id)
          LEFT JOIN tide.seal_log AS before ON before.seal_id = s.seal_id - 1
    ), judged AS (
        SELECT r.ordinal, r.op, r.base, l.ordinal IS NOT NULL AND NOT l.dead AS live, l.dead, c.xid, c.op AS last_op,
               c.xid IS NOT NULL AND CASE
                   -- Below the floor the version that a conflict names must still do: else no device could ever use the key again.
                   WHEN b.base IS NULL AND r.op = 'I' AND r.base > 0 AND r.base <= v_head THEN tide.home_version(user_id, c.xid) <= r.base IS NOT TRUE
                   WHEN b.base IS NULL OR NOT pg_visible_in_snapshot(c.xid, b.snap) THEN true
                   WHEN pg_visible_in_snapshot(c.xid, b.snap_before) OR b.is_last THEN false
                   ELSE (SELECT max(o.change_id) FROM tide.change_log AS o WHERE o.xid = c.xid AND o.op <> 'M') > b.last_change_id
               END AS later,
               v_many AND r.op <> 'I' AND r.base < (SELECT s.last_bundle_id FROM tide.adoption_log AS a JOIN tide.seal_log AS s ON s.seal_id = a.seal_id
                                                     WHERE a.table_id = r.table_id AND a.error IS NULL ORDER BY a.seal_id DESC LIMIT 1) AS read_since
          FROM unnest(rows) AS r
          LEFT JOIN unnest(live, dead) AS l (ordinal, dead) ON l.ordinal = r.ordinal
          LEFT JOIN base AS b ON b.base = r.base
          LEFT JOIN LATERAL (
                    SELECT n.xid, n.op
                      FROM ((SELECT k.change_id, k.xid, c.op
                               FROM tide.key_log AS k
                              CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = k.xid AND l.change_id = k.change_id OFFSET 0) AS c
                              WHERE k.key_hash = r.key_hash AND c.table_id = r.table_id AND c.row_key = r.row_key COLLATE "C" AND c.op IN ('I', 'U', 'D')
                                -- What happened to a row of somebody else is not told, nor what came and went in one transaction: nobody ever saw it.
                                AND (l.ordinal IS NOT NULL
                                     OR (v_mine && c.buckets OR v_mine && c.old_buckets)
                                        AND NOT tide.came_and_went(k.xid, r.key_hash, r.table_id, r.row_key))
                              ORDER BY k.change_id DESC LIMIT 1)
                             UNION ALL
                            (SELECT u.change_id, u.xid, u.op
                               FROM unnest(v_fresh) AS u
                              WHERE u.key_hash = r.key_hash AND u.table_id = r.table_id AND u.row_key = r.row_key COLLATE "C"
                                AND (l.ordinal IS NOT NULL
                                     OR (v_mine && u.buckets OR v_mine && u.old_buckets)
                                        AND NOT tide.came_and_went(u.xid, r.key_hash, r.table_id, r.row_key))
                              ORDER BY u.change_id DESC LIMIT 1)) AS n
                     ORDER BY n.change_id DESC
                     LIMIT 1) AS c ON true
    )
    SELECT j.ordinal, j.live, NOT j.live AND (j.last_op IS NOT NULL OR j.dead IS TRUE), CASE WHEN j.read_since IS NOT TRUE THEN j.xid END,
           j.op <> 'I' AND j.base > 0 AND j.base < v_floor OR j.base > v_head
      FROM judged AS j
     WHERE j.live = (j.op = 'I')
        OR j.later OR j.read_since
        OR j.op <> 'I' AND (j.base < v_floor OR j.base = 0)
        OR j.base > v_head;
END;
$$;
COMMENT ON FUNCTION tide.judge_push(text, tide.pushed_row[], bigint[], boolean[]) IS 'Rows of a push that are in conflict, given those that are there (locked before, in a statement of its own; NULL where all are new, and written). pruned: the log cannot tell. Raises TD126. Internal.';
