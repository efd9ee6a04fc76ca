-- register_table and refresh both end here: compare what is wanted with what is, say the steps, do them.
-- Validation and writing of functions come first; the lock on the table comes last and is held for
-- as long as a few catalog rows take.
CREATE OR REPLACE FUNCTION tide.apply_registration(wanted tide.synced_table, missed_changes boolean, dry_run boolean)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass := wanted.relation;
    v_current  tide.synced_table;
    v_trees    regclass[] := ARRAY(SELECT v_relation UNION SELECT p.relid FROM pg_partition_tree(v_relation) AS p ORDER BY 1);
    v_grants   text[];
    v_findings record;
    v_mark     "char";
    v_reason   text;
    v_lock     text;
    v_sql      text;
    v_deps     boolean;
    v_lay_in   text[];
BEGIN
    IF NOT (SELECT pg_has_role(current_user, c.relowner, 'USAGE') AND pg_has_role(current_user, 'tide_owner', 'USAGE')
              FROM pg_class AS c WHERE c.oid = v_relation) THEN
        RAISE EXCEPTION 'role % may not register table %', current_user, v_relation
            USING ERRCODE = 'TD007',
                  DETAIL  = 'It takes the owner of the table, who is also a member of tide_owner.',
                  HINT    = format('Run as the owner %s, after: GRANT tide_owner TO %1$s.', (SELECT c.relowner::regrole FROM pg_class AS c WHERE c.oid = v_relation));
    END IF;
    wanted := tide.resolve_columns(wanted);
    PERFORM tide.assert_push_policy(wanted);
    wanted.partitions := array_remove(v_trees, v_relation);

    LOCK TABLE tide.synced_table IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO v_current FROM tide.synced_table AS s WHERE s.relation = v_relation;

    -- Why the next seal must read the table, if it must.
    IF v_current.table_id IS NULL THEN
        v_mark := 'A';
        v_reason := 'registered';
    ELSIF missed_changes OR v_current.unregistered_at IS NOT NULL
          OR tide.bucket_patterns(v_current) IS DISTINCT FROM tide.bucket_patterns(wanted)
          OR ROW(v_current.owner_column, v_current.bucket_function, v_current.deleted_at_column, v_current.key_columns, v_current.table_schema, v_current.table_name,
                 v_current.parents, v_current.parent_fks, v_current.derived, v_current.synced)
             IS DISTINCT FROM ROW(wanted.owner_column, wanted.bucket_function, wanted.deleted_at_column, wanted.key_columns, wanted.table_schema, wanted.table_name,
                 wanted.parents, wanted.parent_fks, wanted.derived, wanted.synced)
          OR NOT wanted.partitions @> v_current.partitions THEN
        v_mark := '!';
        v_reason := 'registered again';
    ELSIF v_current.sync_columns IS DISTINCT FROM wanted.sync_columns OR wanted.partitions <> v_current.partitions THEN
        v_mark := 'A';
        v_reason := 'columns or partitions changed';
    END IF;

    v_grants := tide.missing_grants(v_trees) || tide.missing_push_grants(wanted);
    RETURN QUERY SELECT g.statement FROM unnest(v_grants) AS g (statement);
    RETURN NEXT format('%s %s as %s.%s: key %s, columns %s, %s', CASE WHEN v_current.table_id IS NULL THEN 'register' ELSE 'update registration of' END,
        v_relation, quote_ident(wanted.table_schema), quote_ident(wanted.table_name), array_to_string(wanted.key_columns, ', '), array_to_string(wanted.sync_columns, ', '),
        tide.describe_rule(wanted) || ', push ' || wanted.push_policy);
    IF tide.needs_read_back(v_relation) THEN
        RETURN NEXT 'capture reads rows back, because row triggers or cascading foreign keys may change them again';
    END IF;

    IF NOT dry_run THEN
        FOREACH v_sql IN ARRAY v_grants LOOP
            EXECUTE v_sql;
        END LOOP;
        PERFORM tide.assert_readable(r.oid) FROM unnest(v_trees) AS r (oid);
        v_deps := v_current.dep_columns IS DISTINCT FROM wanted.dep_columns;
        wanted := tide.store_registration(wanted, v_grants);
        PERFORM tide.set_bucket_sources();
        IF v_current.table_id IS NOT NULL AND (v_mark = '!' OR v_deps) THEN
            -- Writers under the old rule must be done before the new one holds.
            PERFORM tide.lock_briefly(v_relation, 'SHARE ROW EXCLUSIVE');
        END IF;
        PERFORM tide.write_capture_functions(wanted.table_id);
        -- Expressions of children hold those of their parents.
        PERFORM tide.write_bucket_functions(b.table_id) FROM tide.bucket_source AS b WHERE b.source_id = wanted.table_id;
        IF NOT wanted.derived THEN
            PERFORM tide.write_bucket_functions(wanted.table_id);
            WITH gone AS (DELETE FROM tide.membership AS m WHERE m.table_id = wanted.table_id RETURNING m.bucket_id)
            SELECT array_agg(DISTINCT '=' || g.bucket_id) INTO v_lay_in FROM gone AS g;
        END IF;
        PERFORM tide.write_push_functions(wanted.table_id);
        PERFORM tide.write_reads_function(s.table_id) FROM tide.synced_table AS s
          WHERE s.rls_write IS NOT NULL AND (s.table_id = wanted.table_id OR s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id = wanted.table_id));
        PERFORM tide.set_fk_depths();
        PERFORM tide.set_shape();
    END IF;

    SELECT count(*) FILTER (WHERE f.problem <> 'superfluous') AS amiss, count(*) FILTER (WHERE f.problem = 'superfluous') AS superfluous,
           bool_or(f.problem <> 'superfluous' AND f.relation <> ALL (v_current.partitions || v_relation) IS NOT TRUE AND f.trigger_name !~ '^_tide_order') AS lost,
           array_agg(f.remedy) AS remedies
      INTO v_findings
      FROM tide.trigger_findings(CASE WHEN dry_run THEN v_current.table_id ELSE wanted.table_id END) AS f;
    IF v_findings.lost AND v_current.table_id IS NOT NULL THEN
        v_mark := '!';
        v_reason := 'capture triggers were missing or disabled';
    END IF;
    IF v_findings.amiss + v_findings.superfluous > 0 OR v_current.table_id IS NULL THEN
        v_lock := CASE WHEN v_findings.superfluous > 0 THEN 'ACCESS EXCLUSIVE' ELSE 'SHARE ROW EXCLUSIVE' END;
        RETURN NEXT format('lock %s in %s mode, tried for 150 ms at a time and now and then for as long as an autovacuum needs to make way, and create its capture triggers', v_relation, v_lock);
    END IF;
    IF v_mark IS NOT NULL THEN
        RETURN NEXT format('the next seal reads the table (%s)', v_reason);
    END IF;
    IF dry_run THEN
        RETURN;
    END IF;

    IF v_lock IS NOT NULL THEN
        PERFORM tide.lock_briefly(v_relation, v_lock);
        FOREACH v_sql IN ARRAY v_findings.remedies LOOP
            EXECUTE v_sql;
        END LOOP;
    END IF;
    IF v_mark IS NOT NULL THEN
        PERFORM tide.mark_table(wanted.table_id, v_mark, v_reason, coalesce(tide.bucket_patterns(v_current), '{}') || v_lay_in);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.apply_registration(tide.synced_table, boolean, boolean) IS 'Makes a registration as wanted, and says the steps. Internal.';
