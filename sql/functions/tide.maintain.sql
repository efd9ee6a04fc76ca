CREATE OR REPLACE FUNCTION tide.maintain(only_altered boolean DEFAULT false)
    RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_setting   tide.setting := (SELECT s FROM tide.setting AS s);
    v_change_id bigint;
    v_bundle_id bigint;
    v_seal_id   bigint;
    v_now       text := tide.definitions(); -- before the tables are looked at: what is altered meanwhile is looked at again
    v_table     record;
BEGIN
    -- A table that was altered is captured by a statement made at every write, until its functions are written anew.
    FOR v_table IN
        SELECT s.table_id, s.relation, s.key_columns
          FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation
         WHERE s.unregistered_at IS NULL AND (NOT only_altered OR v_now IS DISTINCT FROM v_setting.maintained)
    LOOP
        IF tide.key_index(v_table.relation, tide.current_names(v_table.table_id, v_table.key_columns)::name[]) IS NULL THEN
            -- Nothing could be written that finds rows by it.
            RETURN NEXT format('%s: the key is no longer unique, so its functions stay as they are', v_table.relation);
            CONTINUE;
        END IF;
        BEGIN
            IF tide.write_capture_functions(v_table.table_id) THEN
                RETURN NEXT format('wrote the capture functions of %s anew, after it was altered', v_table.relation);
            END IF;
            IF tide.write_bucket_functions(v_table.table_id) THEN
                RETURN NEXT format('wrote the bucket functions of %s anew, after a table they look at was altered', v_table.relation);
            END IF;
            IF tide.write_push_functions(v_table.table_id) THEN
                RETURN NEXT format('wrote the push functions of %s anew, after it was altered', v_table.relation);
            END IF;
        EXCEPTION
            WHEN SQLSTATE 'TD005' OR SQLSTATE 'TD012' THEN
                RETURN NEXT format('%s: %s', v_table.relation, sqlerrm);
        END;
    END LOOP;
    UPDATE tide.setting AS s SET maintained = v_now WHERE s.maintained IS DISTINCT FROM v_now;

    -- Last, as its locks stay until the end. What a query reads no partition can be attached to.
    SELECT l.seal_id, l.last_bundle_id INTO v_seal_id, v_bundle_id FROM tide.seal_log AS l ORDER BY l.seal_id DESC LIMIT 1;
    SELECT s.last_value INTO v_change_id FROM tide.change_id AS s;
    RETURN QUERY SELECT tide.add_partitions('tide.change_log', 'change_id', v_change_id, v_setting.change_partition_rows, v_setting.partitions_ahead);
    RETURN QUERY SELECT tide.add_partitions('tide.key_log', 'change_id', v_change_id, v_setting.change_partition_rows, v_setting.partitions_ahead);
    RETURN QUERY SELECT tide.add_partitions('tide.bundle_log', 'bundle_id', v_bundle_id, v_setting.bundle_partition_rows, v_setting.partitions_ahead);
    RETURN QUERY SELECT tide.add_partitions('tide.seal_log', 'seal_id', v_seal_id, v_setting.seal_partition_rows, v_setting.partitions_ahead);
END;
$$;
COMMENT ON FUNCTION tide.maintain(boolean) IS 'Keeps empty partitions ahead of the logs and the functions of tables in step with their definitions; says what it did. only_altered => true passes over the tables when none was altered since. To be called now and then, by the runtime, pg_cron or a DBA.';
