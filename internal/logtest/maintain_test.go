package logtest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Partitions are added beside writers and a reader that holds the log, also when nobody had
// maintained for so long that rows lie in the default partition. Nothing is lost, nobody waits long.
func TestMaintainAddsPartitionsBesideWriters(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `UPDATE tide.setting SET change_partition_rows = 20000, bundle_partition_rows = 20000, seal_partition_rows = 20000, partitions_ahead = 3`,
		`SELECT setval('tide.change_id', 16777216 + 500)`)
	held := newFold(t, db)
	stop := make(chan struct{})
	var group sync.WaitGroup
	writer := db.Connect(t, db.URL)
	must(t, writer, impatient)
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := writer.Exec(t.Context(), fmt.Sprintf(`UPDATE app.task SET title = 'w%d' WHERE id = %d`, i, 1+i%9)); err != nil {
				t.Errorf("writer: %v", err)
				return
			}
		}
	})
	for range 20 {
		seal(t, db)
		exec(t, db, `SELECT tide.maintain()`)
	}
	close(stop)
	group.Wait()
	held.check(t)
	if got := value[int](t, db, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'tide.change_log'::regclass`); got < 5 {
		t.Errorf("%d partitions of change_log, want more", got)
	}
	if !value[bool](t, db, `SELECT EXISTS (SELECT FROM tide.change_log_default)`) {
		t.Error("the test meant rows to lie in the default partition")
	}
	if got := value[int](t, db, `SELECT count(*) FROM tide.check() WHERE finding ~ 'default partition'`); got != 1 {
		t.Errorf("check has %d findings about the default partition, want 1", got)
	}
}

// A table that lost the index of its key keeps its functions, and keeps nobody else from being maintained.
func TestMaintainWithoutAKey(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `ALTER TABLE app.task DROP CONSTRAINT task_pkey`,
		`CREATE TABLE app.other (id integer PRIMARY KEY, title text); SELECT tide.register_table('app.other', bucket => 'global'); ALTER TABLE app.other RENAME COLUMN title TO name`)
	const said = `SELECT string_agg(m, E'\n' ORDER BY m COLLATE "C") FROM tide.maintain() AS m WHERE m !~ '^added'`
	if got, want := value[string](t, db, said), "app.task: the key is no longer unique, so its functions stay as they are\nwrote the capture functions of app.other anew, after it was altered"; got != want {
		t.Errorf("maintain says\n%s\nwant\n%s", got, want)
	}
	exec(t, db, `ALTER TABLE app.task ADD PRIMARY KEY (id)`, `SELECT tide.maintain()`)
	if got := value[int](t, db, `SELECT count(*) FROM tide.check() WHERE finding ~ 'key|functions'`); got != 0 {
		t.Errorf("%d findings with the key again", got)
	}
}

// Whoever maintains every minute looks at the tables when one was altered; whoever asks for it, at any time.
func TestMaintainPassesOverWhatWasNotAltered(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `SELECT tide.maintain(only_altered => true)`)
	name := value[string](t, db, `SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'tide'::regnamespace AND proname LIKE 'capture_%_insert'`)
	tampered := `CREATE OR REPLACE FUNCTION ` + name + ` RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN NULL; END $$`
	exec(t, db, tampered, `VACUUM ANALYZE app.task`)
	const said = `SELECT coalesce(string_agg(m, '; '), '') FROM tide.maintain(only_altered => %t) AS m`
	for _, c := range []struct {
		only bool
		want string
	}{{true, ""}, {false, "wrote the capture functions of app.task anew, after it was altered"}, {true, ""}} {
		if got := value[string](t, db, fmt.Sprintf(said, c.only)); got != c.want {
			t.Errorf("maintain(only_altered => %t) says %q, want %q", c.only, got, c.want)
		}
	}
	exec(t, db, tampered, `ALTER TABLE app.task ADD COLUMN more integer`)
	if got := value[string](t, db, fmt.Sprintf(said, true)); !strings.Contains(got, "capture functions of app.task anew") {
		t.Errorf("after the table was altered it says %q", got)
	}
}

// Who seals has locks of several logs, and so has who adds partitions to them: neither may be the victim
// of a deadlock, nor wait for the other longer than a moment.
func TestMaintainAndSealDoNotDeadlock(t *testing.T) {
	t.Parallel()
	// PostgreSQL looks for a deadlock once in a wait: one of these is the right moment.
	for _, timeout := range []string{"220ms", "260ms", "300ms", "350ms", "400ms"} {
		t.Run(timeout, func(t *testing.T) {
			t.Parallel()
			maintainBesideSeal(t, timeout)
		})
	}
}

func maintainBesideSeal(t *testing.T, deadlockTimeout string) {
	db := pgtest.New(t)
	exec(t, db, taskSetup, `UPDATE tide.setting SET partitions_ahead = 5`)
	// It keeps maintenance waiting between two logs.
	reader := db.Connect(t, db.URL)
	must(t, reader, `BEGIN`, `LOCK TABLE tide.bundle_log_default IN ACCESS SHARE MODE`)
	sealing := db.Connect(t, db.URL)
	must(t, sealing, `SET deadlock_timeout = '`+deadlockTimeout+`'`, `BEGIN`, `SELECT count(*) FROM tide.seal_log`)
	maintaining := db.Connect(t, db.URL)
	pid := maintaining.PgConn().PID()
	ended := make(chan error, 1)
	go func() {
		_, err := maintaining.Exec(t.Context(), `SELECT tide.maintain()`)
		ended <- err
	}()
	for len(ended) == 0 && !value[bool](t, db, `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND mode = 'AccessExclusiveLock' AND relation = ANY ('{tide.change_log_default,tide.seal_log_default}'::regclass[]))`, pid) {
		time.Sleep(time.Millisecond)
	}
	must(t, sealing, `SELECT tide.seal()`, `COMMIT`)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	must(t, reader, `COMMIT`)
	exec(t, db, `SELECT tide.maintain()`)
	if got := value[int](t, db, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'tide.seal_log'::regclass`); got < 6 {
		t.Errorf("%d partitions of seal_log, want more", got)
	}
}

// An empty partition is a subplan of every statement that looks into the log: none is added before it is needed.
func TestMaintainAddsAPartitionWhenAQuarterIsLeft(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `UPDATE tide.setting SET change_partition_rows = 400000`)
	const partitions = `SELECT count(*) FROM pg_inherits WHERE inhparent = 'tide.change_log'::regclass`
	before := value[int](t, db, partitions)
	for _, step := range []struct{ reached, added int }{{16_000_000, 0}, {16_777_216 - 100_001, 0}, {16_777_216 - 50_000, 1}, {16_800_000, 1}} {
		exec(t, db, fmt.Sprintf(`SELECT setval('tide.change_id', %d)`, step.reached), `SELECT tide.maintain()`)
		if got := value[int](t, db, partitions) - before; got != step.added {
			t.Errorf("%d partitions were added when change %d was reached, want %d", got, step.reached, step.added)
		}
	}
}

func TestMaintainGivesUpBehindAReader(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `UPDATE tide.setting SET change_partition_rows = 20000`, `SELECT setval('tide.change_id', 16777216 + 500)`)
	conn := db.Connect(t, db.URL)
	must(t, conn, `BEGIN`, `SELECT count(*) FROM tide.change_log`)
	if got := value[string](t, db, `SELECT string_agg(m, '; ') FROM tide.maintain() AS m WHERE m !~ '^added'`); got == "" {
		t.Error("maintain says nothing about the reader in its way")
	}
	exec(t, db, `INSERT INTO app.task VALUES (99, 1)`)
	must(t, conn, `COMMIT`)
	exec(t, db, `SELECT tide.maintain()`)
	if got := value[int](t, db, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'tide.change_log'::regclass`); got < 3 {
		t.Errorf("%d partitions of change_log, want more", got)
	}
}

// A seal of more changes than one step may take: steps that end early are not readable, order holds.
func TestALongSealWorksInSteps(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	held := newFold(t, db)
	exec(t, db, `UPDATE tide.setting SET seal_max_changes = 25`)
	open := db.Connect(t, db.URL)
	must(t, open, `BEGIN`, `INSERT INTO app.task VALUES (500, 1, 'early, committed amid the steps')`)
	for i := range 100 {
		exec(t, db, fmt.Sprintf(`INSERT INTO app.task VALUES (%d, %d, 'x')`, 100+i, i%3), fmt.Sprintf(`UPDATE app.task SET owner = %d WHERE id = %d`, i%2, 1+i%9))
	}
	exec(t, db, `DELETE FROM app.task WHERE id BETWEEN 100 AND 160`)
	head := value[int64](t, db, `SELECT tide.head()`)
	for step := range 3 {
		exec(t, db, `SELECT tide.seal()`)
		if got := value[int64](t, db, `SELECT tide.head()`); got != head {
			t.Errorf("after step %d the head is %d, want %d: the steps are not complete", step, got, head)
		}
		if step == 1 {
			must(t, open, `COMMIT`)
		}
		exec(t, db, fmt.Sprintf(`INSERT INTO app.task VALUES (%d, 1, 'written between steps')`, 300+step))
	}
	if !value[bool](t, db, `SELECT seal_in_progress FROM tide.lag`) {
		t.Error("the seal was not done in steps")
	}
	held.check(t)
	if got := value[int](t, db, `SELECT count(*) FROM tide.seal_log WHERE cut_change_id IS NOT NULL`); got < 8 {
		t.Errorf("%d steps, want at least 8", got)
	}
}
