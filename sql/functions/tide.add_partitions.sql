-- Attaching beside a DEFAULT partition makes PostgreSQL look through that partition under an
-- exclusive lock, unless a validated CHECK tells that nothing in it belongs to the new one. And a
-- statement that began before the attaching still routes by the old partitions: a row of the new
-- range would fail in the DEFAULT one. So a new range begins well above what was drawn, and what
-- lies between goes to the DEFAULT partition.
CREATE OR REPLACE FUNCTION tide.add_partitions(log regclass, column_name name, reached bigint, size bigint, ahead numeric)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '150ms'
AS $$
DECLARE
    v_log     name := (SELECT c.relname FROM pg_class AS c WHERE c.oid = log);
    v_default text := format('tide.%I', v_log || '_default');
    v_end     bigint;
    v_from    bigint;
    v_new     name;
BEGIN
    LOOP
        SELECT coalesce(max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''?(\d+)''?\)'))[1]::bigint), 0)
          INTO v_end
          FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = log;
        EXIT WHEN v_end >= reached + ahead * size;
        v_from := greatest(v_end, reached + greatest(size / 16, 10000));
        v_new := format('%s_from_%s', v_log, v_from);
        BEGIN
            -- Attaching locks a DEFAULT partition exclusively, and who seals or reads has locks of several
            -- logs. So those of all are taken at once, that first which sealing reads first: who waits for
            -- one while he holds another waits for a moment only. A reader may take them in another order: then
            -- this gives up before deadlock_timeout as it usually is, or is found out by a shorter one.
            LOCK TABLE tide.seal_log_default, tide.change_log_default, tide.key_log_default, tide.bundle_log_default IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('CREATE TABLE tide.%I (LIKE %s INCLUDING ALL, CONSTRAINT tide_range CHECK (%I >= %s AND %3$I < %s))',
                v_new, log, column_name, v_from, v_from + size);
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS tide_range', v_default);
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT tide_range CHECK (%I < %s) NOT VALID', v_default, column_name, v_from);
            EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT tide_range', v_default);
            EXECUTE format('ALTER TABLE %s ATTACH PARTITION tide.%I FOR VALUES FROM (%s) TO (%s)', log, v_new, v_from, v_from + size);
            EXECUTE format('ALTER TABLE tide.%I DROP CONSTRAINT tide_range', v_new);
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT tide_range', v_default);
            EXECUTE format('ALTER TABLE tide.%I OWNER TO tide_owner', v_new);
        EXCEPTION
            WHEN lock_not_available OR deadlock_detected THEN
                RETURN NEXT format('could not add %s now: a reader holds the log; try again', v_new);
                EXIT;
            WHEN duplicate_table OR duplicate_object OR unique_violation THEN
                RETURN NEXT format('somebody else added %s at the same time', v_new);
                EXIT;
            WHEN check_violation THEN
                RETURN NEXT format('could not add %s now: writers have reached it already; try again', v_new);
                EXIT;
        END;
        RETURN NEXT format('added %s for %s from %s', v_new, column_name, v_from);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.add_partitions(regclass, name, bigint, bigint, numeric) IS 'Adds partitions to a log until so many of its size have room ahead, without making writers wait. Internal.';
