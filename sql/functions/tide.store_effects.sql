CREATE OR REPLACE FUNCTION tide.store_effects(effects tide.seal_effect[], seal_id bigint, sealed_at timestamptz)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
DECLARE
    v_again tide.table_mark[] := ARRAY(SELECT ROW(e.table_id, e.op, NULL, e.note)::tide.table_mark FROM unnest(effects) AS e WHERE e.kind = 'g');
BEGIN
    INSERT INTO tide.change_log (change_id, xid, table_id, op, row_key, key_hash, buckets, old_buckets, payload)
    SELECT e.change_id, e.xid, e.table_id, CASE e.kind WHEN 'j' THEN 'M' ELSE 'A' END, (e.judged).row_key, (e.judged).key_hash, (e.judged).after, (e.judged).before, (e.judged).payload
      FROM unnest(effects) AS e WHERE e.kind IN ('i', 'j') AND e.change_id IS NOT NULL;
    INSERT INTO tide.key_log (key_hash, change_id, xid)
    SELECT (e.judged).key_hash, e.change_id, e.xid FROM unnest(effects) AS e WHERE e.kind IN ('i', 'j') AND e.change_id IS NOT NULL ORDER BY 1;
    INSERT INTO tide.adoption_log (table_id, seal_id, reason, error, adopted_at)
    SELECT e.table_id, store_effects.seal_id, e.note #>> '{}', e.error, sealed_at FROM unnest(effects) AS e WHERE e.kind = 'l';
    IF EXISTS (SELECT FROM tide.missed_log) THEN
        DELETE FROM tide.missed_log AS m WHERE pg_visible_in_snapshot(m.xid, (SELECT s.snap FROM tide.seal_log AS s ORDER BY s.seal_id DESC LIMIT 1));
    END IF;
    -- With the id of this transaction: fresh to the next seal.
    IF cardinality(v_again) > 0 THEN
        PERFORM tide.write_marks(v_again);
    END IF;
    DELETE FROM tide.membership AS m
     USING unnest(effects) AS e
     WHERE e.kind = 'j' AND NOT (e.judged).before <@ (e.judged).after
       AND m.table_id = e.table_id AND m.key_hash = (e.judged).key_hash AND m.row_key = (e.judged).row_key COLLATE "C" AND m.bucket_id <> ALL ((e.judged).after);
    INSERT INTO tide.membership (table_id, key_hash, row_key, bucket_id)
    SELECT e.table_id, (e.judged).key_hash, (e.judged).row_key, b FROM unnest(effects) AS e CROSS JOIN LATERAL unnest((e.judged).after) AS b
     WHERE e.kind = 'j' AND b <> ALL ((e.judged).before)
     ORDER BY 2;
    IF EXISTS (SELECT FROM tide.bucket_failure) THEN
        -- Two statements: with an OR all effects would be compared with all failures.
        DELETE FROM tide.bucket_failure AS f
         USING unnest(effects) AS e
         WHERE e.kind = 'j' AND (e.judged).error IS NULL AND f.table_id = e.table_id AND f.key_hash = (e.judged).key_hash AND f.row_key = (e.judged).row_key COLLATE "C";
        DELETE FROM tide.bucket_failure AS f
         WHERE f.row_key = '*' AND f.table_id IN (SELECT e.table_id FROM unnest(effects) AS e WHERE e.kind = 'w');
    END IF;
    INSERT INTO tide.bucket_failure AS f (table_id, key_hash, row_key, error, seal_id, failed_at)
    SELECT e.table_id, (e.judged).key_hash, (e.judged).row_key, (e.judged).error, store_effects.seal_id, sealed_at FROM unnest(effects) AS e WHERE e.kind = 'j' AND (e.judged).error IS NOT NULL
     UNION ALL
    SELECT e.table_id, 0, '*', e.error, store_effects.seal_id, sealed_at FROM unnest(effects) AS e WHERE e.kind = 'e' AND e.error !~ '55P03'
        ON CONFLICT (table_id, key_hash, row_key) DO UPDATE SET error = excluded.error, seal_id = excluded.seal_id, failed_at = excluded.failed_at;
    INSERT INTO tide.change_log (table_id, op, row_key, key_hash, deps, old_deps)
    SELECT e.table_id, 'R', (e.judged).row_key, hashtextextended((e.judged).row_key, e.table_id), (e.judged).payload, (e.judged).error::json FROM unnest(effects) AS e WHERE e.kind = 'r';
END;
$$;
COMMENT ON FUNCTION tide.store_effects(tide.seal_effect[], bigint, timestamptz) IS 'Writes what marked tables and derived rules made of a seal: images of rows that were read or moved, stored buckets, tables read, failures. Internal.';
