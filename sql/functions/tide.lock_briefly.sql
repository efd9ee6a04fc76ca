-- Whoever waits for a lock makes everybody behind it wait as well: so give up soon, and try again. An
-- autovacuum, however, makes way only for who waits as long as deadlock_timeout: now and then that is waited for.
CREATE OR REPLACE FUNCTION tide.lock_briefly(relation regclass, lock_mode text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '150ms'
AS $$
DECLARE
    v_longer interval := least(current_setting('deadlock_timeout')::interval + interval '200 ms', interval '2 s');
BEGIN
    FOR v_try IN 1 .. 40 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', CASE v_try % 10 WHEN 5 THEN extract(milliseconds FROM v_longer)::integer::text ELSE '150' END, true);
            EXECUTE format('LOCK TABLE %s IN %s MODE', relation, lock_mode);
            RETURN;
        EXCEPTION
            WHEN lock_not_available THEN
                PERFORM pg_sleep(0.05 + random() * 0.3);
        END;
    END LOOP;
    RAISE EXCEPTION 'table % is busy', relation
        USING ERRCODE = 'TD008',
              DETAIL  = format('No %s lock in 40 tries, four of them of %s ms and the others of 150 ms; a transaction of backend %s holds the table.', lock_mode, extract(milliseconds FROM v_longer)::integer,
                  (SELECT coalesce(string_agg(DISTINCT l.pid::text, ', '), '(gone by now)')
                     FROM pg_locks AS l
                    WHERE l.relation = lock_briefly.relation AND l.granted AND l.pid <> pg_backend_pid()
                      AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))),
              HINT    = 'Nothing was changed. Let that transaction end (pg_stat_activity shows it), then try again.';
END;
$$;
COMMENT ON FUNCTION tide.lock_briefly(regclass, text) IS 'Locks a table with all its partitions without ever making others wait long for it. Raises TD008. Internal.';
