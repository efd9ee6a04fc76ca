-- One statement does the sealing, so that what it takes, reads and records is one snapshot, also
-- under READ COMMITTED. The stages of it, in order:
--   fresh      changes whose transaction the previous seal did not see, and this statement does
--   net        per transaction and key: where the row was before, where it is after, the last image
--   derived    what becomes of rows whose buckets hang on other tables
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
    v_late     boolean;
    v_effects  tide.derived_effect[];
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
        SELECT f.xid, f.change_id, f.change_id AS first_id, f.old_buckets AS before, f.buckets AS after, f.bytes
          FROM fresh AS f
         WHERE f.key_hash IS NOT NULL AND f.op <> 'R'
           AND NOT EXISTS (SELECT FROM repeated AS r WHERE r.xid = f.xid AND r.key_hash = f.key_hash)
         UNION ALL
        SELECT l.xid, l.change_id, l.first_id,
               -- Nobody saw it come and go, but the device that pushed it holds it.
               CASE WHEN b.op = 'I' AND l.op = 'D' AND l.xid IN (SELECT f.xid FROM fresh AS f WHERE f.op = 'O' AND f.note ->> 'user' IS NOT NULL)
                    THEN l.old_buckets ELSE b.old_buckets END,
               l.buckets, l.bytes
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
    ), derived AS MATERIALIZED (
        SELECT e.*
          FROM (SELECT (SELECT array_agg(ROW(f.xid, t.last_change_id, CASE WHEN t.source_id IS NOT NULL THEN t.user_id END, f.change_id, f.order_id, f.table_id, f.op, f.key_hash, f.row_key,
                                             f.buckets IS DISTINCT FROM f.old_buckets, f.bytes, f.deps, f.old_deps)::tide.fresh_change)
                          FROM fresh AS f JOIN tx AS t ON t.xid = f.xid WHERE f.table_id = ANY (v_sources) AND f.key_hash IS NOT NULL) AS changes,
                       array_agg(m.table_id ORDER BY m.table_id) AS marked, array_agg(m.op ORDER BY m.table_id) AS marks
                  FROM mark AS m WHERE m.table_id = ANY (v_derived)) AS q
         CROSS JOIN LATERAL tide.derive(q.changes, q.marked, q.marks, v_cut IS NOT NULL, CASE WHEN v_late THEN v_complete.snap END) AS e
         WHERE v_sources IS NOT NULL AND (q.changes IS NOT NULL OR q.marked IS NOT NULL OR v_late)
    ), entry AS (
        SELECT a.xid, a.bucket_id, a.change_id, a.first_id, CASE WHEN a.bucket_id = ANY (a.before) THEN 'U' ELSE 'I' END::"char" AS op, a.bytes
          FROM (SELECT n.xid, n.change_id, n.first_id, n.before, n.bytes, unnest(n.after) COLLATE "C" AS bucket_id FROM net AS n) AS a
         UNION ALL
        SELECT b.xid, b.bucket_id, b.change_id, b.first_id, 'D'::"char", 0
          FROM (SELECT n.xid, n.change_id, n.first_id, n.after, unnest(n.before) COLLATE "C" AS bucket_id FROM net AS n) AS b
         WHERE b.bucket_id = ANY (b.after) IS NOT TRUE
         UNION ALL
        SELECT t.xid, t.bucket_id COLLATE "C", t.change_id, t.first_id, t.op, t.bytes FROM derived AS t WHERE t.kind = 't' AND t.xid IS NOT NULL
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
          FROM derived AS j CROSS JOIN LATERAL unnest((j.judged).before || (j.judged).after) AS b (bucket_id) WHERE j.kind = 'j' AND (j.judged).op = '!'
         GROUP BY j.table_id, b.bucket_id
    ), locked AS MATERIALIZED (
        SELECT r.table_id FROM reading AS r WHERE r.error ~ '55P03'
         UNION
        SELECT e.table_id FROM derived AS e WHERE e.kind = 'e' AND e.error ~ '55P03'
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
               coalesce(max(m.xid), (SELECT max(f.xid) FROM fresh AS f WHERE v_late AND EXISTS (SELECT FROM derived AS e WHERE e.kind = 't'))) AS xid
          FROM mark AS m
    ), written AS (
        INSERT INTO tide.change_log (change_id, xid, table_id, op, row_key, key_hash, buckets, payload)
        SELECT i.change_id, a.xid, i.table_id, 'A', i.row_key, hashtextextended(i.row_key, i.table_id), i.buckets, i.payload
          FROM image_row AS i CROSS JOIN adopting AS a
    ), everything AS MATERIALIZED (
        SELECT p.xid, b.bundle_id, p.bucket_id, p.changes, p.ops, p.bytes, p.min_change_id, p.max_change_id,
               b.source_id, b.source_bundle_id, b.user_id, b.label, b.traceparent
          FROM part AS p JOIN bundle AS b ON b.xid = p.xid
         UNION ALL
        SELECT a.xid, a.bundle_id, i.bucket_id, array_agg(i.change_id ORDER BY i.change_id), array_agg(i.op ORDER BY i.change_id), sum(i.bytes),
               min(i.change_id), max(i.change_id), NULL, NULL, NULL, 'adoption', NULL
          FROM (SELECT r.change_id, r.op, octet_length(r.payload::text) AS bytes, unnest(r.buckets) COLLATE "C" AS bucket_id FROM image_row AS r
                 UNION ALL
                SELECT t.change_id, t.op, t.bytes, t.bucket_id COLLATE "C" FROM derived AS t WHERE t.kind = 't' AND t.xid IS NULL
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
        SELECT m.table_id, v_previous.seal_id + 1, m.reason, coalesce((SELECT r.error FROM reading AS r WHERE r.table_id = m.table_id AND r.error IS NOT NULL), (SELECT max(e.error) FROM derived AS e WHERE e.kind = 'e' AND e.table_id = m.table_id)), v_now
          FROM mark AS m
    )
    INSERT INTO tide.seal_log (seal_id, last_bundle_id, last_change_id, snap, cut_change_id, has_derived, sealed_at)
    SELECT v_previous.seal_id + 1,
           -- Adoption takes a number also when nothing of it is listed: positions before it lack those rows.
           v_previous.last_bundle_id + (SELECT count(*) FROM bundle) + (SELECT count(*) FROM adopting AS a WHERE a.xid IS NOT NULL),
           coalesce(v_cut, v_drawn),
           CASE WHEN v_cut IS NULL THEN tide.snapshot_listing(pg_current_snapshot(), pg_current_xact_id()) ELSE v_snap END,
           v_cut, EXISTS (SELECT FROM derived AS e WHERE e.kind = 'j' AND (e.change_id IS NOT NULL OR (e.judged).before <> (e.judged).after)), v_now
        -- In a REPEATABLE READ transaction that began before another seal, this is a serialization failure.
        ON CONFLICT DO NOTHING
    RETURNING last_bundle_id, (SELECT a.xid FROM adopting AS a), (SELECT array_agg(e::tide.derived_effect) FROM derived AS e WHERE e.kind <> 't')
      INTO v_last, v_own, v_effects;
    IF v_effects IS NOT NULL THEN
        PERFORM tide.store_derived(v_effects, v_previous.seal_id + 1, v_own, v_now);
    END IF;
    -- Runtimes listen, and tell the devices that watch. Delivered with the commit; nobody need listen.
    IF v_cut IS NULL AND v_last > v_complete.last_bundle_id THEN
        PERFORM pg_notify('tide_sealed', v_last::text);
        PERFORM tide.queue_event('on_seal', jsonb_build_object('seal_id', v_previous.seal_id + 1, 'first_bundle_id', v_complete.last_bundle_id + 1, 'last_bundle_id', v_last));
    END IF;
    RETURN v_last;
END;
$$;
COMMENT ON FUNCTION tide.seal() IS
'Gives every transaction that committed since the last seal its place in the log, and returns the last bundle_id. Writes nothing when there is nothing. Many may call it, one runs. Raises TD010, TD016, TD011; 40001 when another seal came first in a REPEATABLE READ transaction.';
