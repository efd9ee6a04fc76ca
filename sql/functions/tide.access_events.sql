-- Who must hear that what he may read is another set now. Runs on the snapshot of the seal. A query
-- that raises keeps nobody from reading what he should: his access is asked at every request anyway.
CREATE OR REPLACE FUNCTION tide.access_events(changes tide.fresh_change[], OUT xid xid8, OUT user_id text, OUT source_id integer, OUT error text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = on SET enable_nestloop = on SET plan_cache_mode = auto SET jit = off
    SET lock_timeout = '200ms'
AS $$
#variable_conflict use_column
DECLARE
    v_dependency tide.access_dependency;
BEGIN
    FOR v_dependency IN SELECT * FROM tide.access_dependency AS a WHERE a.source_id IN (SELECT f.table_id FROM unnest(changes) AS f) LOOP
        source_id := v_dependency.source_id;
        BEGIN
            RETURN QUERY EXECUTE format($sql$
                SELECT DISTINCT g.xid, tide_u.user_id, g.table_id, NULL::text
                  FROM unnest($1) AS g
                 CROSS JOIN LATERAL (VALUES (g.deps), (g.old_deps)) AS tide_i (image)
                 CROSS JOIN LATERAL (SELECT %s) AS changed
                 CROSS JOIN LATERAL (SELECT tide_q.user_id::text FROM (%s) AS tide_q (user_id)) AS tide_u
                 WHERE g.table_id = %s AND tide_i.image IS NOT NULL AND tide_u.user_id <> ''$sql$,
                tide.changed_columns(source_id, v_dependency.source_columns),
                coalesce(v_dependency.affects, format('SELECT changed.%I', v_dependency.source_columns[1])), source_id) USING changes;
        EXCEPTION
            WHEN OTHERS THEN
                IF sqlstate ~ '^(40|53|57)' THEN
                    RAISE;
                END IF;
                error := format('whose access changed cannot be told: %s (%s)', sqlerrm, sqlstate);
                RETURN NEXT;
                error := NULL;
        END;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.access_events(tide.fresh_change[]) IS 'Users whose access may be another one because of changes of a seal, as declared with tide.add_access_dependency. Internal.';
