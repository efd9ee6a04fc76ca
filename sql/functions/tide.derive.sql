-- What rules that look at other tables make of a seal, in its snapshot (that is why it is STABLE). The
-- stages, in order:
--   net      per transaction and key of a derived table, what happened to the row itself
--   judged   rows that changed, or hang on what changed: where they were, where they are
--   moved    those that are elsewhere now, told in the last bundle that touched what they hang on
--   stayed   changes of rows, told where these were and stay
-- By the steps of a long seal nothing is told, by its last step all of it in one bundle after all others.
CREATE OR REPLACE FUNCTION tide.derive(changes tide.fresh_change[], marked integer[], marks text[], in_steps boolean, since pg_snapshot)
    RETURNS SETOF tide.seal_effect
    LANGUAGE plpgsql STABLE ROWS 100
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_nestloop = off
    SET enable_seqscan = off
    SET max_parallel_workers_per_gather = 0 SET jit = off
    SET work_mem = '64MB'
AS $$
#variable_conflict use_column
DECLARE
    v_sources  integer[] := ARRAY(SELECT DISTINCT b.source_id FROM tide.bucket_source AS b);
    v_derived  integer[];
    v_function integer[];
BEGIN
    SELECT array_agg(s.table_id), coalesce(array_agg(s.table_id) FILTER (WHERE s.bucket_function IS NOT NULL), '{}') || ARRAY(SELECT d.source_id FROM tide.bucket_dependency AS d)
      INTO v_derived, v_function
      FROM tide.synced_table AS s WHERE s.derived AND s.unregistered_at IS NULL;
    RETURN QUERY
    WITH fresh AS MATERIALIZED (
        SELECT f.* FROM unnest(changes) AS f WHERE NOT in_steps AND since IS NULL
    ), several AS MATERIALIZED (
        SELECT f.*, row_number() OVER (k ORDER BY coalesce(f.order_id, f.change_id), f.change_id) AS nth, row_number() OVER (k ORDER BY f.change_id DESC) AS nth_from_last,
               min(f.change_id) OVER k AS first_id
          FROM fresh AS f WHERE f.op <> 'R' AND f.table_id = ANY (v_derived) AND f.table_id = ANY (marked) IS NOT TRUE
        WINDOW k AS (PARTITION BY f.xid, f.table_id, f.key_hash, f.row_key)
    ), net AS MATERIALIZED (
        SELECT l.xid, l.last_change_id, l.pushed_by, l.change_id, l.first_id, l.table_id, l.key_hash, l.row_key, l.bytes, b.op AS first_op, l.op AS last_op,
               ARRAY(SELECT m.bucket_id::text FROM tide.membership AS m
                      WHERE m.table_id = l.table_id AND m.key_hash = l.key_hash AND m.row_key = l.row_key COLLATE "C") AS stored
          FROM several AS l JOIN several AS b ON b.xid = l.xid AND b.table_id = l.table_id AND b.row_key = l.row_key
         WHERE l.nth_from_last = 1 AND b.nth = 1
    ), asked AS MATERIALIZED (
        -- What a function looks at may be in any column.
        SELECT f.table_id, f.last_change_id, f.op, f.row_key, f.deps, f.old_deps
          FROM fresh AS f
         WHERE f.table_id = ANY (v_sources) AND (f.op <> 'U' OR f.moved OR f.deps::text IS DISTINCT FROM f.old_deps::text OR f.table_id = ANY (v_function))
         UNION ALL
        SELECT l.table_id, NULL, 'A'::"char", l.row_key, l.deps, l.old_deps
          FROM tide.sealable_ranges(since) AS r JOIN tide.change_log AS l ON l.xid > r.above AND l.xid < r.below
         WHERE since IS NOT NULL AND l.table_id = ANY (v_sources) AND l.op IN ('I', 'U', 'D', 'R')
    ), judging AS MATERIALIZED (
        SELECT j.*
          FROM (SELECT array_agg(ROW(a.table_id, a.last_change_id, a.op, a.row_key, a.deps, a.old_deps)::tide.rule_change) AS changes FROM asked AS a) AS q
         CROSS JOIN LATERAL tide.judge_rules(q.changes, marked, marks) AS j
         WHERE q.changes IS NOT NULL OR marked IS NOT NULL
    ), placed AS (
        SELECT j.*, t.xid, o.change_id AS own_id, o.first_id, o.bytes,
               (j.before <> j.after OR j.op = 'A' AND j.after <> '{}') AND j.op IS DISTINCT FROM '!' AS moved,
               o.change_id IS NOT NULL AND (o.last_op = 'D' OR j.before <@ j.after) AS by_own
          FROM judging AS j
          LEFT JOIN (SELECT DISTINCT f.xid, f.last_change_id FROM fresh AS f) AS t ON t.last_change_id = j.last_change_id
          LEFT JOIN net AS o ON o.xid = t.xid AND o.table_id = j.table_id AND o.key_hash = j.key_hash AND o.row_key = j.row_key
         WHERE j.table_id NOT IN (SELECT f.table_id FROM judging AS f WHERE f.error IS NOT NULL)
    ), judged AS MATERIALIZED (
        SELECT p.*, CASE WHEN p.moved AND NOT p.by_own THEN nextval('tide.change_id') END AS effect_id FROM placed AS p
    ), stayed AS MATERIALIZED (
        -- Before it moved, a row is told where it was and stays; after that, where it is.
        SELECT o.*, CASE WHEN o.last_change_id > j.last_change_id THEN j.after ELSE o.stored END AS held, coalesce(j.after, o.stored) AS kept, CASE WHEN j.xid = o.xid THEN j.effect_id END AS effect_id
          FROM net AS o
          LEFT JOIN judged AS j ON j.table_id = o.table_id AND j.key_hash = o.key_hash AND j.row_key = o.row_key
         WHERE NOT (o.first_op = 'I' AND o.last_op = 'D')
    ), access AS MATERIALIZED (
        SELECT e.* FROM tide.access_events(changes) AS e
    ), told AS (
        SELECT s.xid, b.bucket_id, coalesce(s.effect_id, s.change_id) AS change_id, s.first_id,
               CASE WHEN s.last_op = 'D' THEN 'D' WHEN s.first_op = 'I' THEN 'I' ELSE 'U' END::"char" AS op, s.bytes
          FROM stayed AS s CROSS JOIN LATERAL unnest(s.held) AS b (bucket_id)
         WHERE b.bucket_id = ANY (s.kept)
         UNION ALL
        -- Whoever pushed a row that is in no bucket of his must drop it.
        SELECT s.xid, 'user:' || s.pushed_by, coalesce(s.effect_id, s.change_id), s.first_id, 'D'::"char", 0
          FROM stayed AS s
         WHERE s.pushed_by IS NOT NULL AND 'user:' || s.pushed_by <> ALL (s.stored || s.kept)
         UNION ALL
        SELECT j.xid, b.bucket_id, coalesce(j.effect_id, j.own_id), coalesce(j.first_id, j.effect_id),
               CASE WHEN b.bucket_id = ANY (j.before) THEN 'U' ELSE 'I' END::"char", coalesce(j.bytes, octet_length(j.payload::text))
          FROM judged AS j CROSS JOIN LATERAL unnest(j.after) AS b (bucket_id)
         WHERE j.moved AND (j.op IS NOT DISTINCT FROM 'A' OR b.bucket_id <> ALL (j.before))
         UNION ALL
        SELECT j.xid, b.bucket_id, coalesce(j.effect_id, j.own_id), coalesce(j.first_id, j.effect_id), 'D', 0
          FROM judged AS j CROSS JOIN LATERAL unnest(j.before) AS b (bucket_id)
         WHERE j.moved AND b.bucket_id <> ALL (j.after)
         UNION ALL
        -- His devices ask which buckets they may read when they hear of this.
        SELECT DISTINCT a.xid, 'user:' || a.user_id, NULL::bigint, NULL::bigint, NULL::"char", 0 FROM access AS a WHERE a.user_id IS NOT NULL
    )
    SELECT 't'::"char", t.xid, t.bucket_id, t.change_id, t.first_id, t.op, t.bytes, NULL::integer, NULL::tide.judged_row, NULL::text, NULL::json FROM told AS t
     UNION ALL
    SELECT 'j', CASE WHEN j.moved THEN j.xid END, NULL, j.effect_id, NULL, NULL, NULL, j.table_id, ROW(j.row_key, j.key_hash, j.last_change_id, j.op, j.before, j.after, j.payload, j.row_error)::tide.judged_row, NULL, NULL
      FROM judged AS j
     UNION ALL
    SELECT 'e', NULL, NULL, NULL, NULL, NULL, NULL, j.table_id, NULL, j.error, NULL FROM judging AS j WHERE j.error IS NOT NULL
     UNION ALL
    SELECT 'e', NULL, NULL, NULL, NULL, NULL, NULL, a.source_id, NULL, a.error, NULL FROM access AS a WHERE a.error IS NOT NULL
     UNION ALL
    SELECT 'w', NULL, NULL, NULL, NULL, NULL, NULL, m.table_id, NULL, NULL, NULL
      FROM unnest(marked) AS m (table_id) WHERE m.table_id NOT IN (SELECT j.table_id FROM judging AS j WHERE j.error IS NOT NULL)
     UNION ALL
    SELECT 'w', NULL, NULL, NULL, NULL, NULL, NULL, f.table_id, NULL, NULL, NULL
      FROM tide.bucket_failure AS f
     WHERE f.row_key = '*' AND f.table_id <> ALL (v_derived) AND f.table_id IN (SELECT a.source_id FROM access AS a WHERE a.user_id IS NOT NULL)
       AND f.table_id NOT IN (SELECT a.source_id FROM access AS a WHERE a.error IS NOT NULL)
     UNION ALL
    -- Where a table was locked, changes of rows are told where these were; where they are, the next seal says.
    SELECT 'r', NULL, NULL, NULL, NULL, NULL, NULL, a.table_id, ROW(a.row_key, NULL, NULL, NULL, NULL, NULL, a.deps, a.old_deps::text)::tide.judged_row, NULL, NULL
      FROM asked AS a
     WHERE EXISTS (SELECT FROM judging AS j WHERE j.error ~ '55P03' AND j.table_id = ANY (marked) IS NOT TRUE);
END;
$$;
COMMENT ON FUNCTION tide.derive(tide.fresh_change[], integer[], text[], boolean, pg_snapshot) IS
'What derived rules make of the changes of a seal, and of whole tables that are marked. in_steps: a step of a long seal; since: the last step, which takes all that changed since that snapshot. Internal.';
