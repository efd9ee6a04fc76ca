-- One statement does the sealing, so that what it takes, reads and records is one snapshot, also
-- under READ COMMITTED. The stages of it, in order:
--   fresh      changes whose transaction the previous seal did not see, and this statement does
--   net        per transaction and key: where the row was before, where it is after, the last image
--   effect     what marked tables and derived rules make of it; nothing, most of the time
--   entry      per bucket: what that is for the bucket (came, stayed, left)
--   part       per transaction and bucket, the list of changes
--   numbered   bundle_id by the transaction's largest change_id (causal), bundle_seq on the bucket's head
-- What is of no transaction comes last, in one bundle after all others. A plan is begun anew by every
-- seal, whatever of it runs: what is rare is in tide.seal_effects.
CREATE OR REPLACE FUNCTION tide.seal()
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    -- The plan must suit one change and a million: no nested loop over either, nothing planned anew.
    SET plan_cache_mode = force_generic_plan
    SET enable_nestloop = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET max_parallel_workers_per_gather = 0 SET jit = off
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
    v_sources  integer[];
    v_late     boolean;
    v_newest   xid8;
    v_marks    tide.table_mark[];
    v_effects  tide.seal_effect[];
BEGIN
    -- No snapshot is taken here, so it may also be the first statement of a REPEATABLE READ transaction.
    LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT * INTO v_previous FROM tide.seal_log AS s ORDER BY s.seal_id DESC LIMIT 1;
    v_own := pg_current_xact_id_if_assigned();
    IF v_own IS NOT NULL THEN
        IF EXISTS (SELECT FROM tide.change_log AS c WHERE c.xid = v_own) THEN
            RAISE EXCEPTION 'this transaction has captured changes and cannot seal'
                USING ERRCODE = 'TD010', HINT = 'Commit first: only committed changes are sealed.';
        END IF;
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

    -- Steps judge nothing. They tell whose access changed.
    v_sources := nullif(CASE WHEN v_cut IS NULL THEN ARRAY(SELECT b.source_id FROM tide.bucket_source AS b) END || ARRAY(SELECT a.source_id FROM tide.access_dependency AS a), '{}');
    -- In a long seal they are judged once, by the last step.
    v_late := v_previous.cut_change_id IS NOT NULL AND v_step IS NULL;
    IF v_late THEN
        -- The last step may have nothing of its own left to seal.
        SELECT max(c.xid) INTO v_newest FROM tide.sealable_ranges(v_complete.snap) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below;
    END IF;
    IF v_cut IS NULL AND v_sources IS NOT NULL AND v_drawn - v_complete.last_change_id > (SELECT s.seal_max_judged FROM tide.setting AS s) THEN
        v_marks := tide.tables_to_judge(v_complete.snap);
        IF v_marks IS NOT NULL THEN
            v_sources := (SELECT array_agg(DISTINCT a.source_id) FROM tide.access_dependency AS a);
        END IF;
    END IF;

    FOR v_last, v_effects IN
    WITH fresh AS MATERIALIZED (
        SELECT c.xid, c.change_id, c.order_id, c.table_id, c.op, c.key_hash, c.row_key, c.buckets, c.old_buckets,
               coalesce(octet_length(c.payload::text), 0) AS bytes, CASE WHEN c.op IN ('O', 'A', '!') THEN c.payload END AS note,
               CASE WHEN c.table_id = ANY (v_sources) THEN c.deps END AS deps, CASE WHEN c.table_id = ANY (v_sources) THEN c.old_deps END AS old_deps
          FROM tide.ranges_to_seal(v_complete.snap, v_previous, v_step) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
            -- Always true, and the planner takes it for rare. It would expect one row of 200 of the whole log, and every
            -- seal would begin with hash tables of that size: of a long log, megabytes. They grow by themselves.
           AND c.change_id + 0 = 0 + c.change_id AND c.change_id - 0 = 0 + c.change_id
    ), repeated AS MATERIALIZED (
        -- By hash first: a key that changed twice in one transaction is rare.
        SELECT f.xid, f.key_hash FROM fresh AS f WHERE f.key_hash IS NOT NULL AND f.op <> 'R' GROUP BY f.xid, f.key_hash HAVING count(*) > 1
    ), net AS (
        SELECT f.xid, f.change_id, f.change_id AS first_id, f.old_buckets AS before, f.buckets AS after, f.bytes
          FROM fresh AS f
         WHERE f.key_hash IS NOT NULL AND f.op <> 'R'
           AND NOT EXISTS (SELECT FROM repeated AS r WHERE r.xid = f.xid AND r.key_hash = f.key_hash)
         UNION ALL
        SELECT l.xid, l.change_id, l.first_id,
               -- Nobody saw it come and go, but the device that pushed it holds it.
               CASE WHEN l.first_op = 'I' AND l.op = 'D' AND l.xid IN (SELECT f.xid FROM fresh AS f WHERE f.op = 'O' AND f.note ->> 'user' IS NOT NULL)
                    THEN l.old_buckets ELSE l.before END,
               l.buckets, l.bytes
          FROM (SELECT f.xid, f.change_id, f.op, f.buckets, f.old_buckets, f.bytes,
                       first_value(f.op) OVER in_order AS first_op, first_value(f.old_buckets) OVER in_order AS before,
                       row_number() OVER (of_key ORDER BY f.change_id DESC) AS nth_from_last, min(f.change_id) OVER of_key AS first_id
                  FROM fresh AS f JOIN repeated AS r ON r.xid = f.xid AND r.key_hash = f.key_hash
                 WHERE f.op <> 'R'
                WINDOW of_key AS (PARTITION BY f.xid, f.table_id, f.row_key), in_order AS (of_key ORDER BY coalesce(f.order_id, f.change_id), f.change_id)) AS l
         WHERE l.nth_from_last = 1
    ), tx AS MATERIALIZED (
        SELECT f.xid, max(f.change_id) AS last_change_id, (array_agg(f.note ORDER BY f.change_id DESC) FILTER (WHERE f.op = 'O'))[1] AS origin
          FROM fresh AS f GROUP BY f.xid
    ), effect AS MATERIALIZED (
        SELECT e.*
          FROM (SELECT array_agg(ROW(f.table_id, f.op, f.xid, f.note)::tide.table_mark) FILTER (WHERE f.op IN ('A', '!')) AS marks,
                       coalesce(max(f.xid), v_newest) AS last_xid,
                       (SELECT array_agg(ROW(g.xid, t.last_change_id, CASE WHEN t.origin ->> 'source' IS NOT NULL THEN t.origin ->> 'user' END, g.change_id, g.order_id, g.table_id, g.op, g.key_hash, g.row_key,
                                             g.buckets IS DISTINCT FROM g.old_buckets, g.bytes, g.deps, g.old_deps)::tide.fresh_change)
                          FROM fresh AS g JOIN tx AS t ON t.xid = g.xid WHERE g.table_id = ANY (v_sources) AND g.key_hash IS NOT NULL) AS changes
                  FROM fresh AS f OFFSET 0) AS q -- made once, not wherever it is named
         CROSS JOIN LATERAL tide.seal_effects(q.marks || v_marks, q.changes, v_cut IS NOT NULL, CASE WHEN v_late AND v_marks IS NULL THEN v_complete.snap END, q.last_xid) AS e
         WHERE q.marks IS NOT NULL OR v_marks IS NOT NULL OR v_sources IS NOT NULL AND (q.changes IS NOT NULL OR v_late)
    ), entry AS (
        SELECT a.xid, false AS of_none, a.bucket_id COLLATE "C", a.change_id, a.first_id, CASE WHEN a.bucket_id = ANY (a.before) THEN 'U' ELSE 'I' END::"char" AS op, a.bytes::bigint
          FROM (SELECT n.xid, n.change_id, n.first_id, n.before, n.bytes, unnest(n.after) AS bucket_id FROM net AS n) AS a
         UNION ALL
        SELECT b.xid, false, b.bucket_id COLLATE "C", b.change_id, b.first_id, 'D'::"char", 0::bigint
          FROM (SELECT n.xid, n.change_id, n.first_id, n.after, unnest(n.before) AS bucket_id FROM net AS n) AS b
         WHERE b.bucket_id = ANY (b.after) IS NOT TRUE
         UNION ALL
        SELECT t.xid, t.kind = 'T', t.bucket_id COLLATE "C", t.change_id, t.first_id, t.op, t.bytes FROM effect AS t WHERE t.kind IN ('t', 'T')
    ), part AS MATERIALIZED (
        SELECT e.xid, e.of_none, e.bucket_id, coalesce(array_agg(e.change_id) FILTER (WHERE e.op IS NOT NULL), '{}') AS changes,
               coalesce(array_agg(e.op) FILTER (WHERE e.op IS NOT NULL), '{}') AS ops, sum(e.bytes)::bigint AS bytes,
               min(e.change_id) AS min_change_id, max(e.change_id) AS max_change_id
          FROM (SELECT * FROM entry ORDER BY xid, of_none, bucket_id, first_id) AS e
         GROUP BY e.xid, e.of_none, e.bucket_id
    ), bundle AS MATERIALIZED (
        SELECT t.xid, v_previous.last_bundle_id + row_number() OVER (ORDER BY t.last_change_id) AS bundle_id, t.origin
          FROM tx AS t
         WHERE t.xid IN (SELECT p.xid FROM part AS p WHERE NOT p.of_none)
    ), last AS MATERIALIZED (
        SELECT v_previous.last_bundle_id + count(*) AS bundle_id FROM bundle
    ), head AS MATERIALIZED (
        SELECT d.bucket_id, d.adopted, f.floor_seq, coalesce(l.bundle_seq, f.floor_seq, d.adopted::integer) AS head_seq
          FROM (SELECT k.bucket_id, bool_or(k.adopted) AS adopted
                  FROM (SELECT p.bucket_id, false AS adopted FROM part AS p UNION ALL SELECT e.bucket_id COLLATE "C", true FROM effect AS e WHERE e.kind = 'b') AS k
                 GROUP BY k.bucket_id) AS d
          LEFT JOIN LATERAL (SELECT b.bundle_seq FROM tide.bundle_log AS b WHERE b.bucket_id = d.bucket_id ORDER BY b.bundle_seq DESC LIMIT 1) AS l ON true
          LEFT JOIN LATERAL (SELECT b.floor_seq FROM tide.bucket_floor AS b WHERE b.bucket_id = d.bucket_id ORDER BY b.floor_seq DESC LIMIT 1) AS f ON true
    ), numbered AS MATERIALIZED (
        SELECT p.*, n.bundle_id, b.origin,
               h.head_seq + row_number() OVER (PARTITION BY p.bucket_id ORDER BY n.bundle_id) AS bundle_seq
          FROM part AS p
          LEFT JOIN bundle AS b ON b.xid = p.xid AND NOT p.of_none
         CROSS JOIN LATERAL (SELECT coalesce(b.bundle_id, (SELECT l.bundle_id FROM last AS l) + 1) AS bundle_id) AS n
          JOIN head AS h ON h.bucket_id = p.bucket_id
    ), keyed AS (
        INSERT INTO tide.key_log (key_hash, change_id, xid)
        SELECT f.key_hash, f.change_id, f.xid FROM fresh AS f WHERE f.key_hash IS NOT NULL ORDER BY f.key_hash
    ), logged AS (
        INSERT INTO tide.bundle_log (bundle_id, bundle_seq, xid, seal_id, min_change_id, max_change_id, byte_count, source_bundle_id, sealed_at, consecutive,
                                     bucket_id, changes, ops, source_id, user_id, label, traceparent)
        SELECT n.bundle_id, n.bundle_seq, n.xid, v_previous.seal_id + 1, n.min_change_id, n.max_change_id, n.bytes, (n.origin ->> 'source_bundle_id')::bigint, v_now,
               CASE WHEN n.max_change_id - n.min_change_id + 1 = cardinality(n.changes)
                    THEN cardinality(n.changes) = 1 OR n.changes = ARRAY(SELECT generate_series(n.min_change_id, n.max_change_id)) ELSE false END,
               n.bucket_id, n.changes, n.ops, n.origin ->> 'source', n.origin ->> 'user',
               CASE WHEN NOT n.of_none THEN n.origin ->> 'label' WHEN n.changes = '{}' THEN 'reset' ELSE 'adoption' END, n.origin ->> 'traceparent'
          FROM numbered AS n
         ORDER BY n.bundle_id, n.bucket_id
    ), floors AS (
        INSERT INTO tide.bucket_floor (bucket_id, floor_seq, floor_bundle_id, seal_id, reason, created_at)
        SELECT h.bucket_id, h.head_seq, CASE WHEN h.adopted THEN (SELECT l.bundle_id FROM last AS l) + 1 ELSE v_previous.last_bundle_id END,
               v_previous.seal_id + 1, CASE WHEN h.adopted THEN 'adopted' ELSE 'born' END, v_now
          FROM head AS h WHERE h.floor_seq IS NULL
         UNION ALL
        SELECT n.bucket_id, n.bundle_seq, n.bundle_id, v_previous.seal_id + 1, 'reset', v_now FROM numbered AS n WHERE n.of_none AND n.changes = '{}'
    ), sealed AS (
        INSERT INTO tide.seal_log (seal_id, last_bundle_id, last_change_id, snap, cut_change_id, has_derived, sealed_at)
        SELECT v_previous.seal_id + 1,
               -- Adoption takes a number also when nothing of it is listed: positions before it lack those rows.
               (SELECT l.bundle_id FROM last AS l) + EXISTS (SELECT FROM effect AS e WHERE e.kind IN ('T', 'l'))::integer,
               coalesce(v_cut, v_drawn),
               CASE WHEN v_cut IS NULL THEN tide.snapshot_listing(pg_current_snapshot(), pg_current_xact_id()) ELSE v_snap END,
               v_cut, EXISTS (SELECT FROM effect AS e WHERE e.kind = 'j' AND (e.change_id IS NOT NULL OR (e.judged).before <> (e.judged).after)), v_now
            -- In a REPEATABLE READ transaction that began before another seal, this is a serialization failure.
            ON CONFLICT DO NOTHING
        RETURNING last_bundle_id
    )
    -- In pieces, because no value may be larger than a gigabyte.
    SELECT s.last_bundle_id, p.effects
      FROM sealed AS s
      LEFT JOIN (SELECT array_agg(e.effect ORDER BY e.ordinal) AS effects
                   FROM (SELECT f::tide.seal_effect AS effect, row_number() OVER () AS ordinal FROM effect AS f WHERE f.kind NOT IN ('t', 'T', 'b')) AS e
                  GROUP BY (e.ordinal - 1) / 10000) AS p ON true
    LOOP
        IF v_effects IS NOT NULL THEN
            PERFORM tide.store_effects(v_effects, v_previous.seal_id + 1, v_now);
        END IF;
    END LOOP;
    -- Runtimes listen, and tell the devices that watch. Delivered with the commit; nobody need listen.
    IF v_cut IS NULL AND v_last > v_complete.last_bundle_id THEN
        PERFORM pg_notify('tide_sealed', v_last::text);
        PERFORM tide.queue_event('on_seal', jsonb_build_object('seal_id', v_previous.seal_id + 1, 'first_bundle_id', v_complete.last_bundle_id + 1, 'last_bundle_id', v_last))
           FROM tide.hook AS h WHERE h.hook = 'on_seal';
    END IF;
    RETURN v_last;
END;
$$;
COMMENT ON FUNCTION tide.seal() IS
'Gives every transaction that committed since the last seal its place in the log, and returns the last bundle_id. Writes nothing when there is nothing. Many may call it, one runs. Raises TD010, TD016, TD011; 40001 when another seal came first in a REPEATABLE READ transaction.';
