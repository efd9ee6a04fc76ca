-- Runs on the snapshot of the seal (that is why it is STABLE), when there is a mark or a derived rule. The stages:
--   reading   rows of marked tables, as they are
--   derived   what rules that look at other tables make of the changes
--   reset     buckets whose devices must fetch a snapshot: a known one that holds rows nobody lists, or may have held rows that were lost
--   adopted   buckets that nobody knew: they begin with what is there
CREATE OR REPLACE FUNCTION tide.seal_effects(marks tide.table_mark[], changes tide.fresh_change[], in_steps boolean, since pg_snapshot, last_xid xid8)
    RETURNS SETOF tide.seal_effect
    LANGUAGE plpgsql STABLE ROWS 100
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_nestloop = off
    SET enable_seqscan = off
    SET max_parallel_workers_per_gather = 0 SET jit = off
    SET work_mem = '64MB'
AS $$
DECLARE
    v_derived integer[] := ARRAY(SELECT DISTINCT b.table_id FROM tide.bucket_source AS b);
    v_rules   boolean := EXISTS (SELECT FROM tide.bucket_source UNION ALL SELECT FROM tide.access_dependency);
BEGIN
    RETURN QUERY
    WITH mark AS MATERIALIZED (
        SELECT m.table_id, CASE WHEN bool_or(m.op = '!') THEN '!' ELSE 'A' END AS op, max(m.xid) AS xid,
               array_agg(m.note) FILTER (WHERE m.op = '!') AS notes, string_agg(DISTINCT m.note ->> 'reason', ', ') AS reason
          FROM unnest(marks) AS m GROUP BY m.table_id
    ), derived AS MATERIALIZED (
        SELECT e.*
          FROM (SELECT array_agg(m.table_id ORDER BY m.table_id) AS marked, array_agg(m.op ORDER BY m.table_id) AS ops FROM mark AS m WHERE m.table_id = ANY (v_derived)) AS q
         CROSS JOIN LATERAL tide.derive(changes, q.marked, q.ops, in_steps, since) AS e
         WHERE v_rules AND (changes IS NOT NULL OR q.marked IS NOT NULL OR since IS NOT NULL)
    ), reading AS MATERIALIZED (
        SELECT a.table_id, a.bucket_id COLLATE "C" AS bucket_id, a.row_key, a.payload, a.error
          FROM (SELECT array_agg(m.table_id ORDER BY m.table_id) AS ids, array_agg(m.op ORDER BY m.table_id) AS ops FROM mark AS m WHERE m.table_id <> ALL (v_derived)) AS m
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
    ), reset AS MATERIALIZED (
        SELECT i.bucket_id FROM image AS i WHERE i.row_key IS NULL AND EXISTS (SELECT FROM tide.bucket_floor AS b WHERE b.bucket_id = i.bucket_id)
         UNION
        SELECT b.bucket_id COLLATE "C"
          FROM mark AS m
         CROSS JOIN LATERAL tide.noted_buckets(m.notes) AS b (bucket_id)
         WHERE m.table_id NOT IN (SELECT l.table_id FROM locked AS l)
    ), adopted AS MATERIALIZED (
        SELECT DISTINCT i.bucket_id FROM image AS i WHERE NOT EXISTS (SELECT FROM tide.bucket_floor AS b WHERE b.bucket_id = i.bucket_id)
    ), image_row AS MATERIALIZED (
        SELECT i.table_id, i.row_key, (array_agg(i.payload))[1] AS payload, array_agg(i.bucket_id::text) AS buckets, nextval('tide.change_id') AS change_id,
               CASE WHEN EXISTS (SELECT FROM tide.adoption_log AS l WHERE l.table_id = i.table_id AND l.error IS NULL) THEN 'U' ELSE 'I' END::"char" AS op
          FROM image AS i
         WHERE i.row_key IS NOT NULL
           AND i.bucket_id NOT IN (SELECT a.bucket_id FROM adopted AS a)
           AND i.bucket_id NOT IN (SELECT r.bucket_id FROM reset AS r)
         GROUP BY i.table_id, i.row_key
         ORDER BY i.table_id, i.row_key
    ), last AS (
        SELECT coalesce(max(m.xid), last_xid) AS xid FROM mark AS m
    )
    SELECT 'T'::"char", l.xid, b.bucket_id, i.change_id, i.change_id, i.op, octet_length(i.payload::text)::bigint, i.table_id, NULL::tide.judged_row, NULL::text, NULL::json
      FROM image_row AS i CROSS JOIN LATERAL unnest(i.buckets) AS b (bucket_id) CROSS JOIN last AS l
     UNION ALL
    SELECT 'T', l.xid, r.bucket_id, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL FROM reset AS r CROSS JOIN last AS l
     UNION ALL
    SELECT 'T', l.xid, d.bucket_id, d.change_id, d.first_id, d.op, d.bytes, NULL, NULL, NULL, NULL
      FROM derived AS d CROSS JOIN last AS l
     WHERE d.kind = 't' AND d.xid IS NULL AND d.bucket_id NOT IN (SELECT n.bucket_id FROM adopted AS n) AND d.bucket_id NOT IN (SELECT r.bucket_id FROM reset AS r)
     UNION ALL
    SELECT d.kind, CASE WHEN d.kind = 'j' THEN coalesce(d.xid, l.xid) ELSE d.xid END, d.bucket_id, d.change_id, d.first_id, d.op, d.bytes, d.table_id, d.judged, d.error, d.note
      FROM derived AS d CROSS JOIN last AS l WHERE d.kind <> 't' OR d.xid IS NOT NULL
     UNION ALL
    SELECT 'b', NULL, a.bucket_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM adopted AS a
     UNION ALL
    SELECT 'i', l.xid, NULL, i.change_id, NULL, NULL, NULL, i.table_id, ROW(i.row_key, hashtextextended(i.row_key, i.table_id), NULL, NULL, NULL, i.buckets, i.payload, NULL)::tide.judged_row, NULL, NULL
      FROM image_row AS i CROSS JOIN last AS l
     UNION ALL
    SELECT 'l', NULL, NULL, NULL, NULL, NULL, NULL, m.table_id, NULL,
           coalesce((SELECT r.error FROM reading AS r WHERE r.table_id = m.table_id AND r.error IS NOT NULL), (SELECT max(e.error) FROM derived AS e WHERE e.kind = 'e' AND e.table_id = m.table_id)),
           to_json(m.reason)
      FROM mark AS m
     UNION ALL
    SELECT 'g', NULL, NULL, NULL, NULL, m.op, NULL, m.table_id, NULL, NULL, m.note FROM unnest(marks) AS m WHERE m.table_id IN (SELECT l.table_id FROM locked AS l);
END;
$$;
COMMENT ON FUNCTION tide.seal_effects(tide.table_mark[], tide.fresh_change[], boolean, pg_snapshot, xid8) IS
'What marked tables and derived rules make of the changes of a seal. in_steps: a step of a long seal; since: its last step, which takes all that changed since that snapshot; last_xid: of the changes. Internal.';
