-- affected_N finds the rows to be judged, buckets_N judges them. Apart, so that a rule that raises can
-- be tried again row by row. Static SQL with plans that are kept: every seal that touches the table runs it.
CREATE OR REPLACE FUNCTION tide.write_bucket_functions(table_id integer)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table    tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = write_bucket_functions.table_id);
    v_settings text := tide.capture_settings(table_id) || ' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off';
    n          record;
    k          record;
BEGIN
    IF NOT v_table.derived THEN
        IF to_regprocedure(format('tide.buckets_%s(tide.rule_change[])', table_id)) IS NOT NULL THEN
            EXECUTE format('DROP FUNCTION tide.affected_%s(tide.rule_change[]), tide.buckets_%1$s(tide.rule_change[])', table_id);
        END IF;
        RETURN;
    END IF;
    SELECT * INTO n FROM tide.row_expressions(table_id, 'tide_n');
    SELECT string_agg(format('tide_a.tide_k%s AS %I', c.ordinal, c.current_name), ', ' ORDER BY c.ordinal) AS names,
           string_agg(format('tide_n.%I OPERATOR(%s) %s', c.current_name, c.equality, c.value), ' AND ') AS found
      INTO k
      FROM tide.key_columns(table_id, 'g.row_key') AS c;
    -- The text of a key needs its columns alone.
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION tide.affected_%1$s(changes tide.rule_change[], OUT row_key text, OUT last_change_id bigint)
            RETURNS SETOF record LANGUAGE plpgsql STABLE ROWS 100 %2$s
        AS %3$L$sql$, table_id, v_settings, format($body$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH given AS MATERIALIZED (SELECT * FROM unnest(changes))
    SELECT k.row_key, max(k.last_change_id)
      FROM (SELECT %1$s AS row_key, tide_n.last_change_id FROM (SELECT %2$s, tide_a.last_change_id FROM (%3$s) AS tide_a) AS tide_n) AS k
     GROUP BY k.row_key;
END;
$body$, n.row_key, k.names, tide.affected_source(table_id)));
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION tide.buckets_%1$s(changes tide.rule_change[])
            RETURNS SETOF tide.judged_row LANGUAGE plpgsql STABLE ROWS 100 %2$s
        AS %3$L$sql$, table_id, v_settings, format($body$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT g.row_key, h.key_hash, g.last_change_id, g.op, b.before, coalesce(r.after, '{}'), r.payload, NULL::text
      FROM unnest(changes) AS g
     CROSS JOIN LATERAL (SELECT hashtextextended(g.row_key, %1$s)) AS h (key_hash)
     CROSS JOIN LATERAL (
               SELECT ARRAY(SELECT m.bucket_id::text FROM tide.membership AS m
                             WHERE m.table_id = %1$s AND m.key_hash = h.key_hash AND m.row_key = g.row_key COLLATE "C" ORDER BY m.bucket_id)) AS b (before)
      LEFT JOIN LATERAL (
               SELECT j.after, CASE WHEN j.after <> '{}' AND (g.op = 'A' OR j.after <> b.before) THEN %3$s END AS payload
                 FROM %4$s AS tide_n CROSS JOIN LATERAL (SELECT %2$s AS after OFFSET 0) AS j WHERE %5$s) AS r ON true;
END;
$body$, table_id, n.buckets, n.payload, v_table.relation, k.found));
    EXECUTE format('ALTER FUNCTION tide.affected_%s(tide.rule_change[]) OWNER TO tide_owner; ALTER FUNCTION tide.buckets_%1$s(tide.rule_change[]) OWNER TO tide_owner;
        REVOKE ALL ON FUNCTION tide.affected_%1$s(tide.rule_change[]), tide.buckets_%1$s(tide.rule_change[]) FROM PUBLIC;
        COMMENT ON FUNCTION tide.affected_%1$s(tide.rule_change[]) IS %2$L; COMMENT ON FUNCTION tide.buckets_%1$s(tide.rule_change[]) IS %3$L', table_id,
        format('Rows of %s.%s whose buckets may have changed. Written by pgtide; tide.refresh writes it anew.', v_table.table_schema, v_table.table_name),
        format('Buckets of rows of %s.%s as stored and as they are now. Written by pgtide; tide.refresh writes it anew.', v_table.table_schema, v_table.table_name));
END;
$$;
COMMENT ON FUNCTION tide.write_bucket_functions(integer) IS 'Writes the functions that judge a derived rule. Internal.';
