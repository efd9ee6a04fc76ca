-- One statement does the sealing, so that what it takes, reads and records is one snapshot, also
-- under READ COMMITTED. The stages of it, in order:
--   fresh      changes whose transaction the previous seal did not see, and this statement does
--   net        per transaction and key: where the row was before, where it is after, the last image
--   judged     rows whose buckets hang on other tables: where they were, where they are in this snapshot
--   moved      those that are elsewhere now, told in the last bundle that touched what they hang on
--   entry      per bucket: what that is for the bucket (came, stayed, left)
--   part       per transaction and bucket, the list of changes
--   numbered   bundle_id by the transaction's largest change_id (causal), bundle_seq on the bucket's head
-- Tables to be read (adoption, missed changes) come last, in one bundle after all others. One that is
-- locked is asked for again: rows written here with this transaction's id are fresh to the next seal.
CREATE OR REPLACE FUNCTION tide.seal()
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    -- The plan must suit one change and a million: no nested loop over either, nothing planned anew.
    SET plan_cache_mode = force_generic_plan
    SET enable_nestloop = off
    SET enable_seqscan = off
    SET jit = off
    SET work_mem = '64MB'
AS $$
DECLARE
    v_previous tide.seal_log;
    v_complete tide.seal_log;
    v_drawn    bigint;
    v_own      xid8;
    v_step     xid8[];
    v_cut      bigint;
    v_snap     pg_snapshot;
    v_now      timestamptz;
    v_last     bigint;
    v_derived  integer[];
    v_sources  integer[];
    v_function integer[];
    v_late     boolean;
BEGIN
    -- No snapshot is taken here, so it may also be the first statement of a REPEATABLE READ transaction.
    LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT * INTO v_previous FROM tide.seal_log AS s ORDER BY s.seal_id DESC LIMIT 1;
    v_own := pg_current_xact_id_if_assigned();
    IF EXISTS (SELECT FROM tide.change_log AS c WHERE c.xid = v_own) THEN
        RAISE EXCEPTION 'this transaction has captured changes and cannot seal'
            USING ERRCODE = 'TD010', HINT = 'Commit first: only committed changes are sealed.';
    END IF;
    IF pg_snapshot_xmax(v_previous.snap) > pg_snapshot_xmax(pg_current_snapshot()) THEN
        RAISE EXCEPTION 'the log comes from a server with other transaction ids'
            USING ERRCODE = 'TD016',
                  DETAIL  = format('The last seal saw transaction %s, this server has only reached %s.', pg_snapshot_xmax(v_previous.snap), pg_snapshot_xmax(pg_current_snapshot())),
                  HINT    = 'A dump was restored. Begin a new history: uninstall pgtide, install it again and register the tables.';
    END IF;

    v_complete := v_previous;
    IF v_previous.cut_change_id IS NOT NULL THEN
        SELECT * INTO v_complete FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1;
    END IF;
    IF NOT EXISTS (SELECT FROM tide.sealable_ranges(v_complete.snap) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below) THEN
        RETURN v_previous.last_bundle_id;
    END IF;
    SELECT s.last_value INTO v_drawn FROM tide.change_id AS s;
    v_now := clock_timestamp();
    IF v_previous.cut_change_id IS NOT NULL
       OR v_drawn - v_previous.last_change_id > (SELECT s.seal_max_changes FROM tide.setting AS s) THEN
        SELECT t.step, t.cut, t.snap INTO v_step, v_cut, v_snap FROM tide.seal_step(v_complete, v_previous, v_drawn) AS t;
    END IF;

    SELECT array_agg(DISTINCT b.table_id), array_agg(DISTINCT b.source_id) INTO v_derived, v_sources FROM tide.bucket_source AS b;
    v_sources := v_sources || ARRAY(SELECT DISTINCT a.source_id FROM tide.access_dependency AS a);
    v_function := ARRAY(SELECT s.table_id FROM tide.synced_table AS s WHERE s.table_id = ANY (v_derived) AND s.bucket_function IS NOT NULL);
    -- In a long seal they are judged once, by the last step.
    v_late := v_previous.cut_change_id IS NOT NULL AND v_step IS NULL;

    WITH fresh AS MATERIALIZED (
        SELECT c.xid, c.change_id, c.order_id, c.table_id, c.op, c.key_hash, c.row_key, c.buckets, c.old_buckets,
               coalesce(octet_length(c.payload::text), 0) AS bytes, CASE WHEN c.op IN ('O', 'A', '!') THEN c.payload END AS note,
               CASE WHEN c.table_id = ANY (v_sources) THEN c.deps END AS deps, CASE WHEN c.table_id = ANY (v_sources) THEN c.old_deps END AS old_deps
          FROM (SELECT l.* FROM tide.sealable_ranges(v_complete.snap) AS r JOIN tide.change_log AS l ON l.xid > r.above AND l.xid < r.below
                 WHERE v_step IS NULL AND v_previous.cut_change_id IS NULL
                 UNION ALL
                -- A step of a long seal.
                SELECT l.* FROM tide.change_log AS l WHERE l.xid = ANY (v_step)
                 UNION ALL
                -- Its last step: what ends beyond the last cut, and what the first step did not see yet.
                SELECT l.*
                  FROM tide.change_log AS l
                 WHERE v_step IS NULL AND v_previous.cut_change_id IS NOT NULL
                   AND l.xid = ANY (ARRAY(
                           SELECT k.xid FROM tide.sealable_ranges(v_complete.snap) AS r JOIN tide.change_log AS k ON k.xid > r.above AND k.xid < r.below
                            WHERE k.change_id > v_previous.cut_change_id
                            UNION
                           SELECT k.xid FROM tide.sealable_ranges(v_previous.snap) AS r JOIN tide.change_log AS k ON k.xid > r.above AND k.xid < r.below))
               ) AS c
    ), repeated AS MATERIALIZED (
        -- By hash first: a key that changed twice in one transaction is rare.
        SELECT f.xid, f.key_hash FROM fresh AS f WHERE f.key_hash IS NOT NULL AND f.op <> 'R' GROUP BY f.xid, f.key_hash HAVING count(*) > 1
    ), several AS MATERIALIZED (
        SELECT f.*,
               row_number() OVER (PARTITION BY f.xid, f.table_id, f.row_key ORDER BY coalesce(f.order_id, f.change_id), f.change_id) AS nth,
               row_number() OVER (PARTITION BY f.xid, f.table_id, f.row_key ORDER BY f.change_id DESC) AS nth_from_last,
               min(f.change_id) OVER (PARTITION BY f.xid, f.table_id, f.row_key) AS first_id
          FROM fresh AS f JOIN repeated AS r ON r.xid = f.xid AND r.key_hash = f.key_hash
         WHERE f.op <> 'R'
    ), net AS (
        SELECT f.xid, f.change_id, f.change_id AS first_id, f.old_buckets AS before, f.buckets AS after, f.bytes,
               f.table_id, CASE WHEN f.table_id = ANY (v_derived) THEN f.row_key END AS row_key, f.key_hash, f.op AS first_op, f.op AS last_op
          FROM fresh AS f
         WHERE f.key_hash IS NOT NULL AND f.op <> 'R'
           AND NOT EXISTS (SELECT FROM repeated AS r WHERE r.xid = f.xid AND r.key_hash = f.key_hash)
         UNION ALL
        SELECT l.xid, l.change_id, l.first_id, b.old_buckets, l.buckets, l.bytes,
               l.table_id, CASE WHEN l.table_id = ANY (v_derived) THEN l.row_key END, l.key_hash, b.op, l.op
          FROM several AS l JOIN several AS b ON b.xid = l.xid AND b.table_id = l.table_id AND b.row_key = l.row_key
         WHERE l.nth_from_last = 1 AND b.nth = 1
    ), tx AS MATERIALIZED (
        SELECT t.xid, t.last_change_id, (t.origin ->> 'source') AS source_id, (t.origin ->> 'source_bundle_id')::bigint AS source_bundle_id,
               (t.origin ->> 'user') AS user_id, (t.origin ->> 'label') AS label, (t.origin ->> 'traceparent') AS traceparent
          FROM (SELECT f.xid, max(f.change_id) AS last_change_id,
                       (array_agg(f.note ORDER BY f.change_id DESC) FILTER (WHERE f.op = 'O'))[1] AS origin
                  FROM fresh AS f GROUP BY f.xid) AS t
    ), mark AS MATERIALIZED (
        SELECT f.table_id, CASE WHEN bool_or(f.op = '!') THEN '!' ELSE 'A' END AS op, max(f.xid) AS xid,
               array_agg(f.note) FILTER (WHERE f.op = '!') AS notes, string_agg(DISTINCT f.note ->> 'reason', ', ') AS reason
          FROM fresh AS f WHERE f.op IN ('A', '!') GROUP BY f.table_id
    ), asked AS MATERIALIZED (
        SELECT f.table_id, t.last_change_id, f.op, f.row_key, f.deps, f.old_deps
          FROM fresh AS f JOIN tx AS t ON t.xid = f.xid
         WHERE v_cut IS NULL AND NOT v_late AND f.table_id = ANY (v_sources) AND f.key_hash IS NOT NULL
           AND (f.op <> 'U' OR f.buckets IS DISTINCT FROM f.old_buckets OR f.deps::text IS DISTINCT FROM f.old_deps::text OR f.table_id = ANY (v_function))
         UNION ALL
        SELECT l.table_id, NULL, 'A'::"char", l.row_key, l.deps, l.old_deps
          FROM tide.sealable_ranges(v_complete.snap) AS r JOIN tide.change_log AS l ON l.xid > r.above AND l.xid < r.below
         WHERE v_late AND l.table_id = ANY (v_sources) AND l.op IN ('I', 'U', 'D', 'R')
    ), judging AS MATERIALIZED (
        SELECT j.*
          FROM (SELECT (SELECT array_agg(ROW(a.table_id, a.last_change_id, a.op, a.row_key, a.deps, a.old_deps)::tide.rule_change) FROM asked AS a) AS changes,
                       array_agg(m.table_id ORDER BY m.table_id) AS ids, array_agg(m.op ORDER BY m.table_id) AS ops
                  FROM mark AS m WHERE m.table_id = ANY (v_derived)) AS q
         CROSS JOIN LATERAL tide.judge_rules(q.changes, q.ids, q.ops) AS j
         WHERE q.changes IS NOT NULL OR q.ids IS NOT NULL
    ), judged AS MATERIALIZED (
        SELECT j.table_id, (j.judged).* FROM judging AS j
         WHERE j.table_id NOT IN (SELECT f.table_id FROM judging AS f WHERE f.error IS NOT NULL)
    ), own AS MATERIALIZED (
        SELECT n.*, ARRAY(SELECT m.bucket_id::text FROM tide.membership AS m
                           WHERE m.table_id = n.table_id AND m.key_hash = n.key_hash AND m.row_key = n.row_key COLLATE "C") AS stored
          FROM net AS n
         WHERE n.row_key IS NOT NULL AND v_cut IS NULL AND NOT v_late AND n.table_id NOT IN (SELECT m.table_id FROM mark AS m)
    ), moved AS MATERIALIZED (
        SELECT m.*, CASE WHEN NOT m.by_own THEN nextval('tide.change_id') END AS effect_id
          FROM (SELECT j.*, t.xid, o.change_id AS own_id, o.first_id, o.bytes, o.change_id IS NOT NULL AND (o.last_op = 'D' OR j.before <@ j.after) AS by_own
                  FROM judged AS j
                  LEFT JOIN tx AS t ON t.last_change_id = j.last_change_id
                  LEFT JOIN own AS o ON o.xid = t.xid AND o.table_id = j.table_id AND o.key_hash = j.key_hash AND o.row_key = j.row_key
                 WHERE (j.before <> j.after OR j.op = 'A' AND j.after <> '{}') AND j.op IS DISTINCT FROM '!') AS m
    ), stayed AS (
        -- Before it moved, a row is told where it was and stays; after that, where it is.
        SELECT o.*, CASE WHEN t.last_change_id > j.last_change_id THEN j.after ELSE o.stored END AS held, coalesce(j.after, o.stored) AS kept,
               m.effect_id, t.user_id, t.source_id
          FROM own AS o
          JOIN tx AS t ON t.xid = o.xid
          LEFT JOIN judged AS j ON j.table_id = o.table_id AND j.key_hash = o.key_hash AND j.row_key = o.row_key
          LEFT JOIN moved AS m ON m.table_id = o.table_id AND m.key_hash = o.key_hash AND m.row_key = o.row_key AND m.xid = o.xid
         WHERE NOT (o.first_op = 'I' AND o.last_op = 'D')
    ), told AS MATERIALIZED (
        -- A change of a row that stays where it is.
        SELECT s.xid, b.bucket_id, coalesce(s.effect_id, s.change_id) AS change_id, s.first_id,
               CASE WHEN s.last_op = 'D' THEN 'D' WHEN s.first_op = 'I' THEN 'I' ELSE 'U' END::"char" AS op, s.bytes
          FROM stayed AS s CROSS JOIN LATERAL unnest(s.held) AS b (bucket_id)
         WHERE b.bucket_id = ANY (s.kept)
         UNION ALL
        -- Whoever pushed a row that is in no bucket of his must drop it.
        SELECT s.xid, 'user:' || s.user_id, coalesce(s.effect_id, s.change_id), s.first_id, 'D'::"char", 0
          FROM stayed AS s
         WHERE s.user_id IS NOT NULL AND s.source_id IS NOT NULL AND 'user:' || s.user_id <> ALL (s.stored || s.kept)
         UNION ALL
        SELECT m.xid, b.bucket_id, coalesce(m.effect_id, m.own_id), coalesce(m.first_id, m.effect_id),
               CASE WHEN b.bucket_id <> ALL (m.after) THEN 'D' WHEN b.bucket_id = ANY (m.before) THEN 'U' ELSE 'I' END::"char",
               CASE WHEN b.bucket_id <> ALL (m.after) THEN 0 ELSE coalesce(m.bytes, octet_length(m.payload::text)) END
          FROM moved AS m CROSS JOIN LATERAL (SELECT DISTINCT u FROM unnest(m.before || m.after) AS u) AS b (bucket_id)
         WHERE m.op IS NOT DISTINCT FROM 'A' OR b.bucket_id <> ALL (m.before) OR b.bucket_id <> ALL (m.after)
         UNION ALL
        -- His devices ask which buckets they may read when they hear of this.
        SELECT DISTINCT f.xid, 'user:' || u.user_id, NULL::bigint, NULL::bigint, NULL::"char", 0
          FROM fresh AS f
          JOIN tide.access_dependency AS a ON a.source_id = f.table_id
         CROSS JOIN LATERAL (VALUES (f.deps ->> a.user_column), (f.old_deps ->> a.user_column)) AS u (user_id)
         WHERE u.user_id <> '' AND f.deps::text IS DISTINCT FROM f.old_deps::text
    ), entry AS (
        SELECT a.xid, a.bucket_id, a.change_id, a.first_id, CASE WHEN a.bucket_id = ANY (a.before) THEN 'U' ELSE 'I' END::"char" AS op, a.bytes
          FROM (SELECT n.xid, n.change_id, n.first_id, n.before, n.bytes, unnest(n.after) COLLATE "C" AS bucket_id FROM net AS n) AS a
         UNION ALL
        SELECT b.xid, b.bucket_id, b.change_id, b.first_id, 'D'::"char", 0
          FROM (SELECT n.xid, n.change_id, n.first_id, n.after, unnest(n.before) COLLATE "C" AS bucket_id FROM net AS n) AS b
         WHERE b.bucket_id = ANY (b.after) IS NOT TRUE
         UNION ALL
        SELECT t.xid, t.bucket_id COLLATE "C", t.change_id, t.first_id, t.op, t.bytes FROM told AS t WHERE t.xid IS NOT NULL
    ), part AS MATERIALIZED (
        SELECT e.xid, e.bucket_id, coalesce(array_agg(e.change_id) FILTER (WHERE e.op IS NOT NULL), '{}') AS changes,
               coalesce(array_agg(e.op) FILTER (WHERE e.op IS NOT NULL), '{}') AS ops, sum(e.bytes)::bigint AS bytes,
               min(e.change_id) AS min_change_id, max(e.change_id) AS max_change_id
          FROM (SELECT * FROM entry ORDER BY xid, bucket_id, first_id) AS e
         GROUP BY e.xid, e.bucket_id
    ), bundle AS MATERIALIZED (
        SELECT t.xid, v_previous.last_bundle_id + row_number() OVER (ORDER BY t.last_change_id) AS bundle_id,
               t.source_id, t.source_bundle_id, t.user_id, t.label, t.traceparent
          FROM tx AS t
         WHERE t.xid IN (SELECT p.xid FROM part AS p)
    ), reading AS MATERIALIZED (
        SELECT a.table_id, a.bucket_id COLLATE "C" AS bucket_id, a.row_key, a.payload, a.error
          FROM (SELECT array_agg(m.table_id ORDER BY m.table_id) AS ids, array_agg(m.op ORDER BY m.table_id) AS ops FROM mark AS m WHERE m.table_id = ANY (v_derived) IS NOT TRUE) AS m
         CROSS JOIN LATERAL tide.adoption(m.ids, m.ops) AS a
         WHERE m.ids IS NOT NULL
    ), image AS MATERIALIZED (
        SELECT r.* FROM reading AS r WHERE r.table_id NOT IN (SELECT f.table_id FROM reading AS f WHERE f.error IS NOT NULL)
         UNION ALL
        SELECT j.table_id, b.bucket_id COLLATE "C", NULL::text, NULL::json, NULL::text
          FROM judged AS j CROSS JOIN LATERAL unnest(j.before || j.after) AS b (bucket_id) WHERE j.op = '!'
         GROUP BY j.table_id, b.bucket_id
    ), locked AS MATERIALIZED (
        SELECT r.table_id FROM reading AS r WHERE r.error ~ '55P03'
         UNION
        SELECT j.table_id FROM judging AS j WHERE j.error ~ '55P03'
    ), asked_again AS (
        -- Their own changes are told where the rows were; where they are, the next seal says.
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, deps, old_deps)
        SELECT a.table_id, 'R', a.row_key, hashtextextended(a.row_key, a.table_id), a.deps, a.old_deps
          FROM asked AS a WHERE EXISTS (SELECT FROM judging AS j WHERE j.error ~ '55P03' AND j.table_id NOT IN (SELECT m.table_id FROM mark AS m))
    ), again AS (
        INSERT INTO tide.change_log (table_id, op, payload)
        SELECT f.table_id, f.op, f.note FROM fresh AS f WHERE f.op IN ('A', '!') AND f.table_id IN (SELECT l.table_id FROM locked AS l)
    ), reset AS MATERIALIZED (
        -- Buckets whose devices must fetch a snapshot: a known one that holds rows nobody lists, or may have held rows that were lost.
        SELECT i.bucket_id FROM image AS i WHERE i.row_key IS NULL AND EXISTS (SELECT FROM tide.bucket_floor AS b WHERE b.bucket_id = i.bucket_id)
         UNION
        SELECT b.bucket_id COLLATE "C"
          FROM mark AS m
         CROSS JOIN LATERAL tide.noted_buckets(m.notes) AS b (bucket_id)
         WHERE m.table_id NOT IN (SELECT l.table_id FROM locked AS l)
    ), adopted AS MATERIALIZED (
        SELECT DISTINCT i.bucket_id FROM image AS i WHERE NOT EXISTS (SELECT FROM tide.bucket_floor AS b WHERE b.bucket_id = i.bucket_id)
    ), image_row AS MATERIALIZED (
        SELECT i.table_id, i.row_key, (array_agg(i.payload))[1] AS payload, array_agg(i.bucket_id) AS buckets, nextval('tide.change_id') AS change_id,
               CASE WHEN EXISTS (SELECT FROM tide.adoption_log AS l WHERE l.table_id = i.table_id AND l.error IS NULL) THEN 'U' ELSE 'I' END::"char" AS op
          FROM image AS i
         WHERE i.row_key IS NOT NULL
           AND i.bucket_id NOT IN (SELECT a.bucket_id FROM adopted AS a)
           AND i.bucket_id NOT IN (SELECT r.bucket_id FROM reset AS r)
         GROUP BY i.table_id, i.row_key
         ORDER BY i.table_id, i.row_key
    ), adopting AS MATERIALIZED (
        SELECT v_previous.last_bundle_id + (SELECT count(*) FROM bundle) + 1 AS bundle_id,
               coalesce(max(m.xid), (SELECT max(f.xid) FROM fresh AS f WHERE v_late AND EXISTS (SELECT FROM moved))) AS xid
          FROM mark AS m
    ), written AS (
        INSERT INTO tide.change_log (change_id, xid, table_id, op, row_key, key_hash, buckets, payload)
        SELECT i.change_id, a.xid, i.table_id, 'A', i.row_key, hashtextextended(i.row_key, i.table_id), i.buckets, i.payload
          FROM image_row AS i CROSS JOIN adopting AS a
    ), written_moves AS (
        INSERT INTO tide.change_log (change_id, xid, table_id, op, row_key, key_hash, buckets, old_buckets, payload)
        SELECT m.effect_id, coalesce(m.xid, a.xid), m.table_id, 'M', m.row_key, m.key_hash, m.after, m.before, m.payload
          FROM moved AS m CROSS JOIN adopting AS a WHERE m.effect_id IS NOT NULL
    ), parted AS (
        DELETE FROM tide.membership AS m
         WHERE m.ctid = ANY (ARRAY(
                   SELECT unnest(ARRAY(SELECT o.ctid FROM tide.membership AS o
                                        WHERE o.table_id = j.table_id AND o.key_hash = j.key_hash AND o.row_key = j.row_key COLLATE "C" AND o.bucket_id <> ALL (j.after)))
                     FROM judged AS j WHERE NOT j.before <@ j.after))
    ), joined AS (
        INSERT INTO tide.membership (table_id, key_hash, row_key, bucket_id)
        SELECT j.table_id, j.key_hash, j.row_key, b FROM judged AS j CROSS JOIN LATERAL unnest(j.after) AS b WHERE b <> ALL (j.before)
    ), mended AS (
        DELETE FROM tide.bucket_failure AS f
         WHERE f.ctid = ANY (ARRAY(SELECT o.ctid FROM tide.bucket_failure AS o JOIN judged AS j ON j.table_id = o.table_id AND j.key_hash = o.key_hash AND j.row_key = o.row_key WHERE j.error IS NULL))
    ), failed AS (
        INSERT INTO tide.bucket_failure AS f (table_id, key_hash, row_key, error, seal_id, failed_at)
        SELECT j.table_id, j.key_hash, j.row_key, j.error, v_previous.seal_id + 1, v_now FROM judged AS j WHERE j.error IS NOT NULL
         UNION ALL
        SELECT j.table_id, 0, '*', j.error, v_previous.seal_id + 1, v_now FROM judging AS j WHERE j.error !~ '55P03'
            ON CONFLICT (table_id, key_hash, row_key) DO UPDATE SET error = excluded.error, seal_id = excluded.seal_id, failed_at = excluded.failed_at
    ), everything AS MATERIALIZED (
        SELECT p.xid, b.bundle_id, p.bucket_id, p.changes, p.ops, p.bytes, p.min_change_id, p.max_change_id,
               b.source_id, b.source_bundle_id, b.user_id, b.label, b.traceparent
          FROM part AS p JOIN bundle AS b ON b.xid = p.xid
         UNION ALL
        SELECT a.xid, a.bundle_id, i.bucket_id, array_agg(i.change_id ORDER BY i.change_id), array_agg(i.op ORDER BY i.change_id), sum(i.bytes),
               min(i.change_id), max(i.change_id), NULL, NULL, NULL, 'adoption', NULL
          FROM (SELECT r.change_id, r.op, octet_length(r.payload::text) AS bytes, unnest(r.buckets) COLLATE "C" AS bucket_id FROM image_row AS r
                 UNION ALL
                SELECT t.change_id, t.op, t.bytes, t.bucket_id COLLATE "C" FROM told AS t WHERE t.xid IS NULL
                   AND t.bucket_id NOT IN (SELECT n.bucket_id FROM adopted AS n) AND t.bucket_id NOT IN (SELECT r.bucket_id FROM reset AS r)) AS i CROSS JOIN adopting AS a
         GROUP BY a.xid, a.bundle_id, i.bucket_id
         UNION ALL
        SELECT a.xid, a.bundle_id, r.bucket_id, '{}', '{}', 0, NULL, NULL, NULL, NULL, NULL, 'reset', NULL
          FROM reset AS r CROSS JOIN adopting AS a
    ), head AS MATERIALIZED (
        SELECT d.bucket_id, l.bundle_seq, f.floor_seq, a.bucket_id IS NOT NULL AS adopted,
               coalesce(l.bundle_seq, f.floor_seq, CASE WHEN a.bucket_id IS NOT NULL THEN 1 ELSE 0 END) AS head_seq
          FROM (SELECT e.bucket_id FROM everything AS e UNION SELECT a.bucket_id FROM adopted AS a) AS d
          LEFT JOIN adopted AS a ON a.bucket_id = d.bucket_id
          LEFT JOIN LATERAL (SELECT b.bundle_seq FROM tide.bundle_log AS b WHERE b.bucket_id = d.bucket_id ORDER BY b.bundle_seq DESC LIMIT 1) AS l ON true
          LEFT JOIN LATERAL (SELECT b.floor_seq FROM tide.bucket_floor AS b WHERE b.bucket_id = d.bucket_id ORDER BY b.floor_seq DESC LIMIT 1) AS f ON true
    ), numbered AS MATERIALIZED (
        SELECT e.*, h.head_seq + row_number() OVER (PARTITION BY e.bucket_id ORDER BY e.bundle_id) AS bundle_seq
          FROM everything AS e JOIN head AS h ON h.bucket_id = e.bucket_id
    ), logged AS (
        INSERT INTO tide.bundle_log (bundle_id, bundle_seq, xid, seal_id, min_change_id, max_change_id, byte_count, source_bundle_id, sealed_at,
                                     bucket_id, changes, ops, source_id, user_id, label, traceparent)
        SELECT n.bundle_id, n.bundle_seq, n.xid, v_previous.seal_id + 1, n.min_change_id, n.max_change_id, n.bytes, n.source_bundle_id, v_now,
               n.bucket_id, n.changes, n.ops, n.source_id, n.user_id, n.label, n.traceparent
          FROM numbered AS n
         ORDER BY n.bundle_id, n.bucket_id
    ), floors AS (
        INSERT INTO tide.bucket_floor (bucket_id, floor_seq, floor_bundle_id, seal_id, reason)
        SELECT h.bucket_id, h.head_seq, CASE WHEN h.adopted THEN a.bundle_id ELSE v_previous.last_bundle_id END,
               v_previous.seal_id + 1, CASE WHEN h.adopted THEN 'adopted' ELSE 'born' END
          FROM head AS h CROSS JOIN adopting AS a WHERE h.floor_seq IS NULL
         UNION ALL
        SELECT n.bucket_id, n.bundle_seq, n.bundle_id, v_previous.seal_id + 1, 'reset' FROM numbered AS n WHERE n.label = 'reset' AND n.changes = '{}'
    ), adoptions AS (
        INSERT INTO tide.adoption_log (table_id, seal_id, reason, error, adopted_at)
        SELECT m.table_id, v_previous.seal_id + 1, m.reason, coalesce((SELECT r.error FROM reading AS r WHERE r.table_id = m.table_id AND r.error IS NOT NULL), (SELECT j.error FROM judging AS j WHERE j.table_id = m.table_id AND j.error IS NOT NULL)), v_now
          FROM mark AS m
    )
    INSERT INTO tide.seal_log (seal_id, last_bundle_id, last_change_id, snap, cut_change_id, has_derived, sealed_at)
    SELECT v_previous.seal_id + 1,
           -- Adoption takes a number also when nothing of it is listed: positions before it lack those rows.
           v_previous.last_bundle_id + (SELECT count(*) FROM bundle) + (SELECT count(*) FROM adopting AS a WHERE a.xid IS NOT NULL),
           coalesce(v_cut, v_drawn),
           CASE WHEN v_cut IS NULL THEN tide.snapshot_listing(pg_current_snapshot(), pg_current_xact_id()) ELSE v_snap END,
           v_cut, EXISTS (SELECT FROM moved), v_now
        -- In a REPEATABLE READ transaction that began before another seal, this is a serialization failure.
        ON CONFLICT DO NOTHING
    RETURNING last_bundle_id INTO v_last;
    -- Runtimes listen, and tell the devices that watch. Delivered with the commit; nobody need listen.
    IF v_cut IS NULL AND v_last > v_complete.last_bundle_id THEN
        PERFORM pg_notify('tide_sealed', v_last::text);
    END IF;
    RETURN v_last;
END;
$$;
COMMENT ON FUNCTION tide.seal() IS
'Gives every transaction that committed since the last seal its place in the log, and returns the last bundle_id. Writes nothing when there is nothing. Many may call it, one runs. Raises TD010, TD016, TD011; 40001 when another seal came first in a REPEATABLE READ transaction.';
