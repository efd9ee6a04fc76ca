-- How many buffers every statement of a request touches, with a small log behind it and with a large
-- one. Time is noise, buffers are not: what does not grow here does not grow.
--
--     createdb plans && pgtide sql | psql -d plans && psql -d plans -X -v rows=10000000 -f bench/plans.sql
--
-- The server should have autovacuum = off, so that "never analysed" is what it says. Buffers are those
-- of the second call in a session, with everything that the statement runs inside, without planning of
-- the outermost one. To see which query it is:
--
--     PGOPTIONS="-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 -c auto_explain.log_analyze=on
--                -c auto_explain.log_buffers=on -c auto_explain.log_nested_statements=on"
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\if :{?rows} \else \set rows 10000000 \endif
\if :{?singles} \else \set singles 1000 \endif
SET client_min_messages = warning;
SET synchronous_commit = off;

CREATE SCHEMA plans;
CREATE TABLE plans.note (
    note_id    bigint PRIMARY KEY,
    owner_id   bigint NOT NULL,
    title      text NOT NULL,
    body       text NOT NULL,
    done       boolean NOT NULL DEFAULT false,
    amount     numeric(10, 2) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON plans.note (owner_id);
CREATE SEQUENCE plans.note_id;
CREATE TABLE plans.result (nth integer GENERATED ALWAYS AS IDENTITY, log text NOT NULL, statement text NOT NULL, buffers bigint NOT NULL, PRIMARY KEY (statement, log));
SELECT FROM tide.register_table('plans.note', owner_column => 'owner_id', push_policy => 'owner_only');
SELECT FROM tide.seal();

CREATE PROCEDURE plans.write(rows bigint, owners bigint, first_owner bigint DEFAULT 1) LANGUAGE sql AS $$
    INSERT INTO plans.note (note_id, owner_id, title, body, amount)
    SELECT g.id, first_owner + g.id % owners, 'note ' || g.id, repeat(md5(g.id::text), 3), g.id % 100000 / 100.0
      FROM (SELECT nextval('plans.note_id') AS id FROM generate_series(1, rows)) AS g;
$$;

-- As many transactions of one row; a seal after every few of them.
CREATE PROCEDURE plans.write_singly(times bigint, owners bigint, first_owner bigint, seal_after bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. times LOOP
        CALL plans.write(1, owners, first_owner);
        COMMIT;
        IF i % seal_after = 0 THEN
            PERFORM tide.seal();
            COMMIT;
        END IF;
    END LOOP;
    PERFORM tide.seal();
END;
$$;

-- The rest of the log: transactions of 100k rows over 10k and over 100k buckets, inserts and updates in turns.
CREATE PROCEDURE plans.fill(rows bigint) LANGUAGE plpgsql AS $$
DECLARE
    v_rows   bigint := least(rows, 100000);
    v_owners bigint;
    v_first  bigint;
BEGIN
    FOR i IN 1 .. rows / v_rows LOOP
        v_owners := v_rows / CASE WHEN i % 4 < 2 THEN 10 ELSE 1 END;
        IF i % 2 = 1 THEN
            v_first := nextval('plans.note_id') + 1;
            CALL plans.write(v_rows, v_owners, 1000000);
        ELSE
            UPDATE plans.note SET title = title || ' again', done = NOT done WHERE note_id BETWEEN v_first AND v_first + v_rows - 1;
        END IF;
        COMMIT;
        IF i % 5 = 0 THEN
            PERFORM tide.seal();
            COMMIT;
            -- User 3 has one bundle here and there.
            CALL plans.write(1, 1, 3);
            COMMIT;
        END IF;
    END LOOP;
    PERFORM tide.seal();
END;
$$;

-- Rows of user 4 as a device would push them upon the newest version there is.
CREATE FUNCTION plans.pushed(op text, rows bigint, stale boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
    SELECT json_agg(json_build_object('schema', 'plans', 'table', 'note', 'key', json_build_object('note_id', n.id::text), 'op', op,
               'base_row_version', CASE WHEN op = 'INSERT' THEN 0 WHEN stale THEN 1 ELSE (SELECT p.head_seq FROM tide.bucket_position('user:4') AS p) END,
               'payload', CASE op WHEN 'INSERT' THEN json_build_object('title', 'pushed', 'body', 'body', 'amount', 1.5)
                                  WHEN 'UPDATE' THEN json_build_object('title', 'pushed') END))
      FROM (SELECT CASE WHEN op = 'INSERT' THEN nextval('plans.note_id') ELSE g END AS id FROM generate_series(2001, 2000 + rows) AS g) AS n
$$;

-- Calls a statement twice and notes the buffers of the second call. {} stands for what a query gives; before runs
-- as often as said, each time in a transaction.
CREATE PROCEDURE plans.measure(log text, name text, statement text, value text DEFAULT 'NULL::text', before text DEFAULT '', times integer DEFAULT 0, repeatable boolean DEFAULT false)
LANGUAGE plpgsql AS $$
DECLARE
    v_value text;
    v_plan  json;
BEGIN
    FOR i IN 1 .. 2 LOOP
        FOR j IN 1 .. times LOOP
            EXECUTE before;
            COMMIT;
        END LOOP;
        EXECUTE 'SELECT (' || value || ')::text' INTO v_value;
        PERFORM set_config('default_transaction_isolation', CASE WHEN repeatable THEN 'repeatable read' ELSE 'read committed' END, false);
        COMMIT;
        EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || replace(statement, '{}', quote_nullable(v_value)) INTO v_plan;
        RESET default_transaction_isolation;
        COMMIT;
    END LOOP;
    INSERT INTO plans.result (log, statement, buffers)
    VALUES (log, name, (v_plan #>> '{0,Plan,Shared Hit Blocks}')::bigint + (v_plan #>> '{0,Plan,Shared Read Blocks}')::bigint);
END;
$$;

CREATE PROCEDURE plans.measure_all(log text, scattered bigint, singles integer) LANGUAGE plpgsql AS $$
DECLARE
    v_push text := $q$SELECT * FROM tide.push('4', 'plans', (SELECT coalesce(max(p.source_bundle_id), 0) + 1 FROM tide.push_log AS p WHERE p.user_id = '4' AND p.source_id = 'plans'), {})$q$;
    v_one  text := 'CALL plans.write(1, 1000, 5)';
    v_more text := format('SELECT %s', replace(substr(v_push, 15), '{}', 'plans.pushed(''INSERT'', 1)::json'));
    v_user text := 'user:' || scattered;
BEGIN
    CALL plans.measure(log, 'tide.seal(): nothing new', 'SELECT tide.seal()');
    CALL plans.measure(log, 'tide.seal(): 1 transaction', 'SELECT tide.seal()', before => v_one, times => 1);
    CALL plans.measure(log, format('tide.seal(): %s transactions of one row', singles), 'SELECT tide.seal()', before => v_one, times => singles);
    CALL plans.measure(log, 'tide.seal(): 1 transaction of 1000 rows, 1000 buckets', 'SELECT tide.seal()', before => 'CALL plans.write(1000, 1000, 5)', times => 1);
    CALL plans.measure(log, 'tide.head()', 'SELECT tide.head()');
    CALL plans.measure(log, 'tide.bucket_position()', 'SELECT * FROM tide.bucket_position(''user:1'')');
    CALL plans.measure(log, 'tide.pull(): one bucket, at its head', 'SELECT * FROM tide.pull(''user:1'', {}::bigint)', '(tide.bucket_position(''user:1'')).head_seq');
    CALL plans.measure(log, 'tide.pull(): one bucket, last bundle', 'SELECT * FROM tide.pull(''user:1'', {}::bigint)', '(tide.bucket_position(''user:1'')).head_seq - 1');
    CALL plans.measure(log, 'tide.pull(): one bucket, its first 10 bundles', 'SELECT * FROM tide.pull(''user:1'', 0, 10)');
    CALL plans.measure(log, 'tide.pull(): one bucket, its first 1000 bundles', 'SELECT * FROM tide.pull(''user:1'', 0, 1000)');
    CALL plans.measure(log, 'tide.pull(): one bucket, 10 bundles scattered over the log', format('SELECT * FROM tide.pull(%L, 0, 10)', v_user));
    CALL plans.measure(log, 'tide.pull(): two buckets, at the head', 'SELECT * FROM tide.pull(ARRAY[''user:1'', ''user:2''], {}::bigint)', 'tide.head()');
    CALL plans.measure(log, 'tide.pull(): two buckets, their first 1000 bundles', 'SELECT * FROM tide.pull(ARRAY[''user:1'', ''user:2''], 0, 1000)');
    CALL plans.measure(log, 'tide.bundle_rows(): 100 of 1000 rows', 'SELECT * FROM tide.bundle_rows(''user:2'', 1, 499, 100)');
    CALL plans.measure(log, 'tide.device_bundle_rows(): 100 of 1000 rows', 'SELECT * FROM tide.device_bundle_rows(''2'', ''plans'', 1, 499, 100)');

    CALL plans.measure(log, 'tide.connect()', 'SELECT * FROM tide.connect(''4'', ''plans'', false)');
    CALL plans.measure(log, 'tide.push(): 1 insert', v_push, 'plans.pushed(''INSERT'', 1)');
    CALL plans.measure(log, 'tide.push(): 1 update', v_push, 'plans.pushed(''UPDATE'', 1)', 'SELECT tide.seal()', 1);
    CALL plans.measure(log, 'tide.push(): 1 update in conflict', v_push, 'plans.pushed(''UPDATE'', 1, true)', 'SELECT tide.seal()', 1);
    CALL plans.measure(log, 'tide.push(): 1000 inserts', v_push, 'plans.pushed(''INSERT'', 1000)');
    CALL plans.measure(log, 'tide.push(): 1000 updates', v_push, 'plans.pushed(''UPDATE'', 1000)', 'SELECT tide.seal()', 1);
    CALL plans.measure(log, 'tide.push(): 1000 updates in conflict', v_push, 'plans.pushed(''UPDATE'', 1000, true)', 'SELECT tide.seal()', 1);
    CALL plans.measure(log, 'tide.push(): a retry', 'SELECT * FROM tide.push(''4'', ''plans'', 1, {})', 'plans.pushed(''INSERT'', 1)');
    CALL plans.measure(log, 'tide.push_result(): just sealed', 'SELECT * FROM tide.push_result(''4'', ''plans'', {}::bigint)',
        'SELECT max(p.source_bundle_id) FROM tide.push_log AS p WHERE p.user_id = ''4'' AND p.source_id = ''plans''', 'SELECT tide.seal()', 1);
    CALL plans.measure(log, 'tide.push_result(): a late retry', 'SELECT * FROM tide.push_result(''4'', ''plans'', 1)', 'tide.seal()', v_more, 10);
    CALL plans.measure(log, 'tide.create_snapshot_session(): 1000 rows', 'SELECT * FROM tide.create_snapshot_session(''2'', ''plans'', {}::bigint)', '(tide.bucket_position(''user:2'')).head_seq', repeatable => true);
    CALL plans.measure(log, 'tide.snapshot_rows(): 100 of 1000 rows', 'SELECT * FROM tide.snapshot_rows(''2'', {}::uuid, 500, 100)',
        'SELECT s.snapshot_id FROM tide.snapshot_session AS s WHERE s.user_id = ''2'' ORDER BY s.expires_at DESC LIMIT 1');
    CALL plans.measure(log, 'tide.clean_sessions()', 'SELECT tide.clean_sessions()');

    CALL plans.measure(log, 'tide.row_history(): 2 changes', 'SELECT * FROM tide.row_history(''plans.note'', ''{"note_id": 1}'')');
    CALL plans.measure(log, 'tide.position_of(): an old transaction', 'SELECT tide.position_of({}::xid8)', 'SELECT min(b.xid::text::bigint) FROM tide.bundle_log AS b WHERE b.bucket_id = ''user:1''');
    CALL plans.measure(log, 'tide.position_of(): the newest', 'SELECT tide.position_of({}::xid8)', 'SELECT b.xid FROM tide.bundle_log AS b WHERE b.bucket_id = ''user:4'' ORDER BY b.bundle_seq DESC LIMIT 1');
    CALL plans.measure(log, 'tide.position_of(): not sealed', 'SELECT tide.position_of({}::xid8)', 'pg_current_xact_id()', v_one, 1);
    PERFORM tide.seal();
    COMMIT;
    CALL plans.measure(log, 'tide.bundles: what came since', 'SELECT * FROM tide.bundles WHERE bundle_id > {}::bigint ORDER BY bundle_id, bucket_id LIMIT 100', 'tide.head() - 1');
    CALL plans.measure(log, 'tide.bundles: the last 10', 'SELECT * FROM tide.bundles ORDER BY bundle_id DESC LIMIT 10');
    CALL plans.measure(log, 'tide.bundles: the last 10 of a bucket', 'SELECT * FROM tide.bundles WHERE bucket_id = ''user:1'' ORDER BY bundle_seq DESC LIMIT 10');
    CALL plans.measure(log, 'tide.changes: of the last bundle', 'SELECT * FROM tide.changes WHERE bundle_id = {}::bigint', 'tide.head()');
    CALL plans.measure(log, 'tide.changes: the last 10 of a bucket', 'SELECT * FROM tide.changes WHERE bucket_id = ''user:1'' ORDER BY bundle_seq DESC LIMIT 10');
    CALL plans.measure(log, 'tide.buckets: one', 'SELECT * FROM tide.buckets WHERE bucket_id = ''user:1''');
    CALL plans.measure(log, 'tide.lag: 1 change not sealed', 'SELECT * FROM tide.lag', before => v_one, times => 1);
    CALL plans.measure(log, 'tide.status', 'SELECT * FROM tide.status');
    CALL plans.measure(log, 'tide.check()', 'SELECT * FROM tide.check()');
    CALL plans.measure(log, 'tide.tables', 'SELECT * FROM tide.tables');
END;
$$;

-- User 1 has 1000 bundles of one row, user 2 one of 1000 rows. User 3 will lie scattered over the log,
-- user 4 pushes.
CALL plans.write_singly(:singles, 1, 1, 100);
CALL plans.write(1000, 1, 2);
CALL plans.write(1000, 1, 4);
UPDATE plans.note SET title = 'changed' WHERE note_id = 1;
SELECT FROM tide.seal();
SELECT FROM tide.connect('2', 'plans', false);
SELECT FROM tide.connect('4', 'plans', false);
\connect -
CALL plans.measure_all('small', 1, :singles);

\echo filling
CALL plans.fill(:rows);
CALL plans.write_singly(least(:rows / 100, 100000), 100000, 1000000, 10);
SELECT FROM tide.maintain();
\echo measuring
\connect -
CALL plans.measure_all('never analysed', 3, :singles);
ANALYZE;
\connect -
CALL plans.measure_all('analysed', 3, :singles);

SELECT (SELECT count(*) FROM tide.change_log) AS changes, (SELECT count(*) FROM tide.bundle_log) AS bundles, (SELECT count(*) FROM tide.seal_log) AS seals,
       (SELECT count(DISTINCT f.bucket_id) FROM tide.bucket_floor AS f) AS buckets;
SELECT s.statement, s.buffers AS small, n.buffers AS never_analysed, a.buffers AS analysed
  FROM plans.result AS s JOIN plans.result AS n USING (statement) JOIN plans.result AS a USING (statement)
 WHERE (s.log, n.log, a.log) = ('small', 'never analysed', 'analysed')
 ORDER BY s.nth;
