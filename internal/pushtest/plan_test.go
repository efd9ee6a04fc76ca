package pushtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Of a small table the planner may think that reading it whole, and looking into all pushed rows for each of
// its own, is cheaper than finding these by their key: it expects ten pushed rows, and there may be thousands.
func TestPushedRowsAreFoundByTheirKey(t *testing.T) {
	t.Parallel()
	const pushed, all = 20, 500
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		CREATE TABLE app.team (id bigint PRIMARY KEY, owner_id bigint NOT NULL);
		CREATE TABLE app.line (id bigint PRIMARY KEY, team_id bigint NOT NULL REFERENCES app.team, owner_id bigint NOT NULL, n bigint NOT NULL DEFAULT 0);
		SELECT tide.register_table('app.team', owner_column => 'owner_id', push_policy => 'owner_only');
		SELECT tide.register_table('app.line', owner_column => 'owner_id', push_policy => 'owner_only')`)
	d := connected(t, db, "7")
	for _, statement := range []string{`INSERT INTO app.team SELECT g, 7 FROM generate_series(1, %d) AS g`, `INSERT INTO app.line SELECT g, g, 7, 0 FROM generate_series(1, %d) AS g`} {
		exec(t, db, fmt.Sprintf(statement, all))
	}
	exec(t, db, `SELECT tide.seal()`)
	exec(t, db, `ANALYZE app.team, app.line`)
	base := value[int64](t, db, `SELECT head_seq FROM tide.bucket_position('user:7')`)

	for number, step := range []struct{ op, payload string }{{"UPDATE", `{"n": 5, "team_id": 7}`}, {"DELETE", "null"}} {
		var rows []string
		for i := range pushed {
			rows = append(rows, fmt.Sprintf(`{"schema": "app", "table": "line", "key": {"id": "%d"}, "op": %q, "base_row_version": %d, "payload": %s}`, i+1, step.op, base, step.payload))
		}
		err := pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
			var status string
			if err := tx.QueryRow(t.Context(), `SELECT status FROM tide.push('7', $1, $2, $3::text::json)`, d.source, number+1, "["+strings.Join(rows, ",")+"]").Scan(&status); err != nil {
				return err
			}
			if status != "applied" {
				t.Errorf("%s: %s", step.op, status)
			}
			// In each of a few steps, a row for each that is pushed.
			var read int64
			if err := tx.QueryRow(t.Context(), `SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'app.line'::regclass`).Scan(&read); err != nil {
				return err
			}
			if read < pushed || read > 6*pushed {
				t.Errorf("%s: %d rows of the table were read to push %d", step.op, read, pushed)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", step.op, err)
		}
		exec(t, db, `SELECT tide.seal()`)
		base = value[int64](t, db, `SELECT head_seq FROM tide.bucket_position('user:7')`)
	}
}

// A bucket may hold far more bundles than the others, or than the statistics know: the newest of them are
// read in the order of their index, not all of them to be sorted.
func TestTheAnswerToAPushReadsNoWholeBucket(t *testing.T) {
	t.Parallel()
	const bundles = 1000
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	d := connected(t, db, "ann")
	exec(t, db, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1 .. %d LOOP INSERT INTO app.note VALUES (100 + i, 'ann'); COMMIT; END LOOP; END $$`, bundles))
	if a := d.push(t.Context(), insert("note", 1, `{}`)); a.Status != "applied" {
		t.Fatalf("push: %+v", a)
	}
	exec(t, db, `SELECT tide.seal()`)
	err := pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
		var place, read int64
		if err := tx.QueryRow(t.Context(), `SELECT bundle_seq FROM tide.push_result('ann', 'phone', 1)`).Scan(&place); err != nil {
			return err
		}
		err := tx.QueryRow(t.Context(), `SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname LIKE 'bundle_log%'`).Scan(&read)
		if place <= bundles || read > bundles/5 {
			t.Errorf("%d of %d bundles were read for the place of one, %d", read, bundles, place)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The rows of one user are found by their index, and not by reading the whole table in the order of its key: that
// gives the first one sooner.
func TestAStreamedSnapshotReadsNoWholeTable(t *testing.T) {
	t.Parallel()
	const users, each = 1000, 100
	db := pgtest.New(t)
	exec(t, db, fmt.Sprintf(`
		CREATE SCHEMA app;
		CREATE TABLE app.note (id integer PRIMARY KEY, owner_id text NOT NULL, body text);
		INSERT INTO app.note SELECT g, 'user' || g %% %d, repeat('x', 100) FROM generate_series(1, %d) AS g;
		CREATE INDEX ON app.note (owner_id);
		SELECT tide.register_table('app.note', owner_column => 'owner_id')`, users, users*each))
	exec(t, db, `SELECT tide.seal()`)
	exec(t, db, `VACUUM ANALYZE app.note`)
	connected(t, db, "user7")
	err := snapshotAt(t.Context(), db, "user7", func(tx pgx.Tx, _ int64) error {
		if _, err := tx.Exec(t.Context(), `SELECT tide.open_snapshot('user7', 'c')`); err != nil {
			return err
		}
		tag, err := tx.Exec(t.Context(), `FETCH ALL FROM c`)
		if err != nil {
			return err
		}
		var read int64
		err = tx.QueryRow(t.Context(), `SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'app.note'::regclass`).Scan(&read)
		if tag.RowsAffected() != each || read < each || read > 3*each {
			t.Errorf("for %d rows of %d, %d were read", tag.RowsAffected(), each, read)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What the tables are called is read once for a page, not once for each of its rows: so few tables are never analyzed,
// and the planner does not know how few they are.
func TestAPullReadsTheNamesOfTablesOnce(t *testing.T) {
	t.Parallel()
	const rows = 200
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		DO $$ BEGIN
		    FOR i IN 1 .. 5 LOOP
		        EXECUTE format('CREATE TABLE app."t-%s" (id bigint PRIMARY KEY, owner_id text NOT NULL)', i);
		        PERFORM tide.register_table(format('app."t-%s"', i)::regclass, owner_column => 'owner_id');
		    END LOOP;
		END $$`)
	exec(t, db, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1 .. %d LOOP EXECUTE format('INSERT INTO app."t-%%s" VALUES (%%s, ''ann'')', 1 + i %% 5, i); COMMIT; END LOOP; END $$`, rows))
	exec(t, db, `SELECT tide.seal()`)
	exec(t, db, `ALTER TABLE app."t-1" RENAME TO first`)
	exec(t, db, `SELECT tide.register_table('app.first', owner_column => 'owner_id')`)
	exec(t, db, `SELECT tide.unregister_table('app."t-2"')`)

	const names = `SELECT string_agg(n.name || ' ' || n.rows, ', ' ORDER BY n.name) FROM (SELECT r.table_schema || '.' || r.table_name AS name, count(*) AS rows FROM %s AS r WHERE r.op IS NOT NULL GROUP BY 1) AS n`
	for _, source := range []string{
		`tide.pull('user:ann', (SELECT floor_seq FROM tide.bucket_position('user:ann')))`,
		`tide.bundles_for('{"user:ann": 0}', ARRAY(SELECT b.bundle_id FROM tide.bundle_log AS b), ARRAY(SELECT b.bucket_id::text FROM tide.bundle_log AS b), NULL)`,
	} {
		err := pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
			const scans = `SELECT sum(seq_scan + coalesce(idx_scan, 0)) FROM pg_stat_xact_user_tables WHERE relid IN ('tide.synced_table'::regclass, 'tide.setting'::regclass)`
			var before, after int64
			var called string
			if err := tx.QueryRow(t.Context(), scans).Scan(&before); err != nil {
				return err
			}
			if err := tx.QueryRow(t.Context(), fmt.Sprintf(names, source)).Scan(&called); err != nil {
				return err
			}
			err := tx.QueryRow(t.Context(), scans).Scan(&after)
			if called != "app.first 40, app.t-2 40, app.t-3 40, app.t-4 40, app.t-5 40" {
				t.Errorf("%s has %s", source, called)
			}
			if after-before > 10 {
				t.Errorf("%s looked %d times for what the tables of %d rows are called", source, after-before, rows)
			}
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
	}
}
