-- affected_N finds the rows to be judged, buckets_N judges them. Apart, so that a rule that raises can
-- be tried again row by row. Static SQL with plans that are kept: every seal that touches the table runs
-- it. Whether a table was altered since is folded into a plan, which an ALTER TABLE makes anew.
CREATE OR REPLACE FUNCTION tide.write_bucket_functions(table_id integer)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table    tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = write_bucket_functions.table_id);
    v_settings text := tide.capture_settings(table_id) || ' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_hashagg = on SET jit = off';
    v_function record;
    v_written  boolean := false;
BEGIN
    IF NOT v_table.derived THEN
        IF to_regprocedure(format('tide.buckets_%s(tide.rule_change[])', table_id)) IS NOT NULL THEN
            EXECUTE format('DROP FUNCTION tide.affected_%s(tide.rule_change[]), tide.buckets_%1$s(tide.rule_change[])', table_id);
        END IF;
        RETURN false;
    END IF;
    FOR v_function IN
        SELECT f.name, f.returns, f.about, format($body$
#variable_conflict use_column
DECLARE
    tide_as_written boolean;
BEGIN
    BEGIN
        tide_as_written := (SELECT %1$s WHERE NOT EXISTS (SELECT FROM %2$s WHERE false));
    EXCEPTION
        WHEN undefined_table THEN
            -- It has another name now.
            tide_as_written := false;
    END;
    IF tide_as_written THEN
        RETURN QUERY %3$s;
    ELSE
        PERFORM tide.assert_sources(%4$s);
        RETURN QUERY EXECUTE (tide.bucket_queries(%4$s)).%5$I USING changes;
    END IF;
END;
$body$, u.shapes, u.tables, f.query, table_id, f.kind) AS source
          FROM tide.bucket_queries(table_id) AS q
         CROSS JOIN (SELECT string_agg(format('tide.has_shape(%s, %L, %3$L) AND tide.is_readable(%3$L)', s.table_id, tide.capture_shape(s.table_id), s.relation::oid), ' AND ' ORDER BY s.table_id) AS shapes,
                            string_agg(s.relation::text, ', ' ORDER BY s.table_id) AS tables
                       FROM tide.bucket_source AS b JOIN tide.synced_table AS s ON s.table_id = b.source_id JOIN pg_class AS c ON c.oid = s.relation
                      WHERE b.table_id = write_bucket_functions.table_id) AS u
         CROSS JOIN LATERAL (VALUES
                   ('affected', format('affected_%s', table_id), ', OUT row_key text, OUT last_change_id bigint) RETURNS SETOF record', 'Rows of %s.%s whose buckets may have changed.', q.affected),
                   ('judged', format('buckets_%s', table_id), ') RETURNS SETOF tide.judged_row', 'Buckets of rows of %s.%s as stored and as they are now.', q.judged)) AS f (kind, name, returns, about, query)
    LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND p.proname = v_function.name AND p.prosrc = v_function.source);
        EXECUTE format('CREATE OR REPLACE FUNCTION tide.%I(changes tide.rule_change[]%s LANGUAGE plpgsql STABLE ROWS 100 %s AS %L', v_function.name, v_function.returns, v_settings, v_function.source);
        EXECUTE format('ALTER FUNCTION tide.%1$I(tide.rule_change[]) OWNER TO tide_owner; REVOKE ALL ON FUNCTION tide.%1$I(tide.rule_change[]) FROM PUBLIC; COMMENT ON FUNCTION tide.%1$I(tide.rule_change[]) IS %2$L',
            v_function.name, format(v_function.about || ' Written by pgtide; tide.refresh writes it anew.', v_table.table_schema, v_table.table_name));
        v_written := true;
    END LOOP;
    RETURN v_written;
END;
$$;
COMMENT ON FUNCTION tide.write_bucket_functions(integer) IS 'Writes the functions that judge a derived rule where they are missing or not as they should be, and says whether it did. Internal.';
