package logtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// A table that is registered while devices follow other tables, and while it is written to, reaches
// them whole: as bundles when it is small, by way of a snapshot when it is large.
func TestATableRegisteredLaterReachesDevices(t *testing.T) {
	t.Parallel()
	for name, maxRows := range map[string]int{"as bundles": 100000, "by a snapshot": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, taskSetup, fmt.Sprintf(`UPDATE tide.setting SET adoption_max_rows = %d`, maxRows),
				`CREATE TABLE app.note (id int PRIMARY KEY, owner int, n int NOT NULL DEFAULT 0)`, `INSERT INTO app.note SELECT g, g % 5 FROM generate_series(1, 500) AS g`)
			held := newFold(t, db)
			for _, r := range held.buckets {
				r.joining = true
			}
			whileWriting(t, db, `UPDATE app.note SET n = n + 1, owner = (owner + 1) % 5 WHERE id = 1 + $1 % 500`, func() {
				exec(t, db, `SELECT tide.register_table('app.note', owner_column => 'owner')`)
				for range 20 {
					seal(t, db)
				}
			})
			held.check(t)
			resets := value[int](t, db, `SELECT count(*) FROM tide.bucket_floor WHERE reason = 'reset'`)
			if (maxRows == 10) != (resets > 0) {
				t.Errorf("%d buckets were reset", resets)
			}
			if adopted := value[int](t, db, `SELECT count(*) FROM tide.bundles WHERE label = 'adoption'`); (maxRows == 10) != (adopted == 0) {
				t.Errorf("%d adoption bundles", adopted)
			}
		})
	}
}

// An image that is read must never win over a change committed meanwhile.
func TestRefreshBesideWriters(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	held := newFold(t, db)
	whileWriting(t, db, `UPDATE app.task SET title = 'w' || $1, owner = ($1 / 7) % 3 WHERE id = 1 + $1 % 9`, func() {
		for range 10 {
			exec(t, db, `SELECT tide.refresh('app.task')`)
			seal(t, db)
		}
	})
	held.check(t)
	if got := value[int](t, db, `SELECT count(*) FROM tide.adoption_log WHERE error IS NULL`); got < 11 {
		t.Errorf("the table was read %d times, want at least 11", got)
	}
}

func TestPauseAndResumeBesideWriters(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	held := newFold(t, db)
	whileWriting(t, db, `UPDATE app.task SET title = 'w' || $1, owner = ($1 / 7) % 4 WHERE id = 1 + $1 % 9`, func() {
		for range 3 {
			exec(t, db, `SELECT tide.pause()`)
			time.Sleep(50 * time.Millisecond)
			seal(t, db)
			if value[int](t, db, `SELECT count(*) FROM tide.check() WHERE finding = 'capture is paused'`) != 1 {
				t.Error("check does not say that capture is paused")
			}
			exec(t, db, `SELECT tide.resume()`)
			seal(t, db)
		}
	})
	held.check(t)
	none(t, db, "findings", `SELECT * FROM tide.check()`)

	exec(t, db, `SELECT tide.pause()`, `DELETE FROM app.task WHERE id = 1`, `SELECT tide.resume()`)
	head := value[int64](t, db, `SELECT tide.head()`)
	held.check(t)
	if got := changesOf(t, db, head); len(got) > 0 {
		t.Errorf("changes made while paused are in the log: %v", got)
	}
}

// A transaction of which something was captured when capture was paused is captured whole: a part of it is
// a state that nobody could ever see, and may show one user what was meant for the next owner of a row.
func TestPauseCutsNoTransaction(t *testing.T) {
	t.Parallel()
	for _, trigger := range []string{`SELECT`, `
		CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; RETURN NULL; END $$;
		CREATE TRIGGER touch AFTER INSERT OR UPDATE OR DELETE ON app.task FOR EACH ROW EXECUTE FUNCTION app.touch()`} {
		db := pgtest.New(t)
		exec(t, db, taskSetup, trigger, `SELECT tide.refresh('app.task')`)
		seal(t, db)
		head := value[int64](t, db, `SELECT tide.head()`)
		earlier, later := db.Connect(t, db.URL), db.Connect(t, db.URL)
		must(t, earlier, `BEGIN`, `UPDATE app.task SET title = 'secret' WHERE id = 4`, `DELETE FROM app.task WHERE id = 7`)
		must(t, later, `BEGIN`)
		exec(t, db, `SELECT tide.pause()`)
		must(t, earlier, `UPDATE app.task SET owner = 2 WHERE id = 4`, `INSERT INTO app.task VALUES (7, 1, 'again'), (100, 1, 'new')`, `UPDATE app.task SET title = 'newer' WHERE id = 100`, `COMMIT`)
		must(t, later, `UPDATE app.task SET title = 'unseen' WHERE id = 2`, `COMMIT`)
		seal(t, db)
		want := []string{"user:1 DELETE task 4", "user:1 UPDATE task 7", "user:1 INSERT task 100", "user:2 INSERT task 4"}
		if got := changesOf(t, db, head); !slices.Equal(got, want) {
			t.Errorf("captured is %v, want %v", got, want)
		}
		if shown := value[string](t, db, `SELECT string_agg(bucket_id || ' ' || (payload ->> 'title'), ', ' ORDER BY 1) FROM tide.changes WHERE bundle_id > $1`, head); shown != "user:1 again, user:1 newer, user:2 secret" {
			t.Errorf("shown is %s", shown)
		}
		exec(t, db, `SELECT tide.resume()`)
		seal(t, db)
		none(t, db, "findings", `SELECT * FROM tide.check()`)
	}
}

// Pausing works whatever became of a table.
func TestPauseOfATableThatLostItsOwner(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `ALTER TABLE app.task DROP COLUMN owner`, `SELECT tide.pause()`, `UPDATE app.task SET title = 'x'`)
}

// Everything a trigger cannot see is refused, reported, or made good by what the report says.
func TestWhatTriggersCannotSeeIsReportedAndMended(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ unseen, finding string }{
		"a disabled trigger":      {`ALTER TABLE app.task DISABLE TRIGGER _tide_delete; DELETE FROM app.task WHERE id = 1`, "disabled on app.task: _tide_delete"},
		"all triggers disabled":   {`ALTER TABLE app.task DISABLE TRIGGER ALL; DELETE FROM app.task WHERE id = 1; ALTER TABLE app.task ENABLE TRIGGER USER`, "are disabled"},
		"a dropped trigger":       {`DROP TRIGGER _tide_update ON app.task; UPDATE app.task SET title = 'unseen' WHERE id = 2`, "missing on app.task: _tide_update"},
		"an unlogged table":       {`ALTER TABLE app.task SET UNLOGGED`, "changes cannot be captured"},
		"a child by inheritance":  {`CREATE TABLE app.kid () INHERITS (app.task)`, "changes cannot be captured"},
		"a key without its index": {`ALTER TABLE app.task DROP CONSTRAINT task_pkey`, "no longer unique"},
		"hidden rows":             {`ALTER TABLE app.task ENABLE ROW LEVEL SECURITY`, "cannot read the table"},
		"a revoked grant":         {`REVOKE SELECT ON app.task FROM tide_owner`, "cannot read the table"},
		"a dropped table":         {`DROP TABLE app.task`, "was dropped"},
		"a sequence that caches":  {`ALTER SEQUENCE tide.change_id CACHE 10`, "draws numbers ahead"},
		"a subscription":          {`CREATE SUBSCRIPTION tide_none CONNECTION 'host=127.0.0.1 dbname=none' PUBLICATION none WITH (connect = false); INSERT INTO pg_catalog.pg_subscription_rel (srsubid, srrelid, srsubstate) SELECT oid, 'app.task'::regclass, 'i' FROM pg_subscription WHERE subname = 'tide_none'`, "changes cannot be captured"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, taskSetup)
			held := newFold(t, db)
			conn := db.Connect(t, db.URL)
			if strings.Contains(name, "subscription") {
				must(t, conn, `SET allow_system_table_mods = on`)
				t.Cleanup(func() {
					// The test's own context has ended, and the database cannot be dropped before this.
					if _, err := db.Exec(context.Background(), `ALTER SUBSCRIPTION tide_none SET (slot_name = NONE); DROP SUBSCRIPTION tide_none`); err != nil {
						t.Error(err)
					}
				})
			}
			for _, statement := range strings.Split(c.unseen, "; ") {
				must(t, conn, statement)
			}
			finding := value[string](t, db, `SELECT coalesce(string_agg(finding, '; '), '') FROM tide.check()`)
			if !strings.Contains(finding, c.finding) {
				t.Fatalf("check says %q, want %q", finding, c.finding)
			}
			remedy := value[string](t, db, `SELECT max(remedy) FROM tide.check() WHERE finding ~ $1`, c.finding)
			if !strings.HasPrefix(remedy, "SELECT tide.refresh") {
				return
			}
			exec(t, db, remedy)
			held.check(t)
			none(t, db, "findings after the remedy", `SELECT * FROM tide.check()`)
		})
	}
}

// When capture itself fails, the write fails, or it passes and devices fetch the table anew.
func TestACaptureThatFails(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"fail", "mark_dirty"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, `CREATE SCHEMA app; CREATE TABLE app.doc (id int PRIMARY KEY, n int)`,
				`CREATE FUNCTION app.f(d app.doc) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'b' || (10 / nullif(d.n, -1)) $$`,
				`GRANT USAGE ON SCHEMA app TO tide_owner`, `INSERT INTO app.doc VALUES (1, 1), (2, 2)`,
				`SELECT tide.register_table('app.doc', bucket_function => 'app.f', on_capture_error => '`+policy+`')`)
			held := newFold(t, db)
			_, err := db.Exec(t.Context(), `UPDATE app.doc SET n = 0 WHERE id = 1`)
			if (policy == "fail") != (err != nil) {
				t.Fatalf("the write ended with %v", err)
			}
			if policy == "fail" {
				held.check(t)
				return
			}
			// The rule still raises: the seal goes on without the table, and says so.
			seal(t, db)
			if got := value[string](t, db, `SELECT detail FROM tide.check() WHERE finding = 'a seal could not read the table'`); !strings.Contains(got, "division by zero") {
				t.Errorf("check says %q", got)
			}
			exec(t, db, `UPDATE app.doc SET n = 5 WHERE id = 1`, `SELECT tide.refresh('app.doc', missed_changes => true)`)
			held.check(t)
			none(t, db, "findings", `SELECT * FROM tide.check()`)
			none(t, db, "tables that pushes wait for", `SELECT * FROM tide.missed_log`)
		})
	}
}

func TestARegistrationWithAnotherRuleSendsDevicesToASnapshot(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	held := newFold(t, db)
	exec(t, db, `SELECT tide.register_table('app.task', bucket => 'global')`, `INSERT INTO app.task VALUES (20, 1)`)
	held.check(t)
	for _, bucket := range []string{"user:0", "user:1", "user:2"} {
		if n := len(held.buckets[bucket].rows); n > 0 {
			t.Errorf("%s still holds %d rows", bucket, n)
		}
	}
	if got := value[string](t, db, `SELECT string_agg(r, '; ') FROM tide.register_table('app.task', bucket => 'global') AS r`); strings.Contains(got, "lock") || strings.Contains(got, "seal") {
		t.Errorf("registering again without a change does: %s", got)
	}
}

func TestUnregisteredAndRegisteredAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	held := newFold(t, db)
	exec(t, db, `SELECT tide.unregister_table('app.task')`, `DELETE FROM app.task WHERE id < 4`)
	none(t, db, "what unregistering left", `SELECT tgname FROM pg_trigger WHERE tgname ~ '^_tide' UNION ALL SELECT proname FROM pg_proc WHERE proname ~ '^capture_\d'`)
	exec(t, db, `SELECT tide.register_table('app.task', owner_column => 'owner')`)
	held.check(t)
}

// whileWriting runs f beside four writers whose statement takes a running number.
func whileWriting(t *testing.T, db *pgtest.DB, statement string, f func()) {
	t.Helper()
	stop := make(chan struct{})
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := w; ; i += 4 {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := db.Exec(t.Context(), statement, i); err != nil && !explained(err) {
					t.Errorf("writer: %v", err)
					return
				}
			}
		})
	}
	f()
	close(stop)
	group.Wait()
}

// A table that somebody holds locked keeps only itself from being read.
func TestALockedTableDoesNotHoldUpSealing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `CREATE TABLE app.note (id int PRIMARY KEY, owner int); INSERT INTO app.note VALUES (1, 1), (2, 2)`)
	held := newFold(t, db)
	exec(t, db, `SELECT tide.register_table('app.note', owner_column => 'owner')`, `UPDATE app.task SET title = 'x' WHERE id = 1`)
	conn := db.Connect(t, db.URL)
	must(t, conn, `BEGIN`, `LOCK TABLE app.note IN ACCESS EXCLUSIVE MODE`)
	before := value[int64](t, db, `SELECT tide.head()`)
	for range 3 {
		exec(t, db, `SELECT tide.seal()`)
	}
	if got := changesOf(t, db, before); len(got) != 1 {
		t.Errorf("beside the locked table %v was sealed, want the one change", got)
	}
	must(t, conn, `COMMIT`)
	held.check(t)
	if got := held.buckets["user:1"].rows[`app.note{"id":"1"}`]; got == "" {
		t.Error("the row of the table that was locked never came")
	}
	none(t, db, "findings", `SELECT * FROM tide.check()`)
}

// Whoever makes way for those that wait, as an autovacuum does after a second, is waited for.
func TestRegisteringWaitsForAnAutovacuum(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `CREATE SCHEMA app; CREATE TABLE app.note (id int PRIMARY KEY, owner int)`)
	vacuum := db.Connect(t, db.URL)
	must(t, vacuum, `BEGIN`, `LOCK TABLE app.note IN SHARE UPDATE EXCLUSIVE MODE`)
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := db.Exec(t.Context(), `SELECT tide.register_table('app.note', owner_column => 'owner')`); err != nil {
			t.Error(err)
		}
	})
	for value[int](t, db, `SELECT count(*) FROM pg_locks WHERE relation = 'app.note'::regclass AND NOT granted AND waitstart < clock_timestamp() - current_setting('deadlock_timeout')::interval`) == 0 {
		if t.Failed() {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	must(t, vacuum, `COMMIT`)
	group.Wait()
}

// A transaction that wrote while capture was paused and still runs: resuming waits for it, or the
// seal after it would read the table without its rows.
func TestResumeWaitsForWritersThatAreNotCaptured(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	exec(t, db, `SELECT tide.pause()`)
	writer := db.Connect(t, db.URL)
	must(t, writer, `BEGIN`, `UPDATE app.task SET title = 'unseen' WHERE id = 1`)
	var snapshot string
	var group sync.WaitGroup
	group.Go(func() {
		for _, statement := range []string{`SELECT tide.resume()`, `SELECT tide.seal()`} {
			if _, err := db.Exec(t.Context(), statement); err != nil {
				t.Errorf("%s: %v", statement, err)
			}
		}
		// What a device that was reset takes now, it keeps unless a bundle tells it more.
		if err := db.QueryRow(t.Context(), `SELECT title FROM app.task WHERE id = 1`).Scan(&snapshot); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(700 * time.Millisecond)
	must(t, writer, `COMMIT`)
	group.Wait()
	seal(t, db)
	if told := value[int](t, db, `SELECT count(*) FROM tide.changes`); snapshot != "unseen" && told == 0 {
		t.Errorf("a device holds %q for ever", snapshot)
	}
}
