package sealer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
)

func withItems(t *testing.T) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	exec(t, db, `CREATE SCHEMA app`, `CREATE TABLE app.item (id bigint PRIMARY KEY, owner int)`,
		`SELECT tide.register_table('app.item', owner_column => 'owner')`, `SELECT tide.seal()`)
	return db
}

func exec(t *testing.T, db *pgtest.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Whoever waited for a seal after his commit finds it sealed, however many wait, and they share seals.
func TestWaitersShareSeals(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	group := NewGroup(db.Pool)
	const writers, each = 20, 10
	var waiting sync.WaitGroup
	for w := range writers {
		waiting.Go(func() {
			for i := range each {
				var xid string
				if err := db.QueryRow(t.Context(), fmt.Sprintf(`INSERT INTO app.item VALUES (%d, %d) RETURNING pg_current_xact_id()::text`, w*1000+i, w)).Scan(&xid); err != nil {
					t.Error(err)
					return
				}
				last, err := group.Seal(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				var position *int64
				if err := db.QueryRow(t.Context(), `SELECT tide.position_of($1::text::xid8)`, xid).Scan(&position); err != nil || position == nil || *position > last {
					t.Errorf("the seal up to %d does not have transaction %s: %v (%v)", last, xid, position, err)
				}
			}
		})
	}
	waiting.Wait()
	var seals int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM tide.seal_log`).Scan(&seals); err != nil {
		t.Fatal(err)
	}
	if seals > writers*each {
		t.Errorf("%d seals for %d waiters", seals, writers*each)
	}
	t.Logf("%d seals for %d waiters", seals, writers*each)
}

// One who stops waiting neither ends the seal of the others nor keeps them from the next.
func TestWaiterThatGivesUp(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	group := NewGroup(db.Pool)
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `INSERT INTO app.item VALUES (1, 1)`)
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := group.Seal(impatient); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	sealed := make(chan error, 1)
	go func() {
		_, err := group.Seal(t.Context())
		sealed <- err
	}()
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-sealed; err != nil {
		t.Error(err)
	}
	var position *int64
	if err := db.QueryRow(t.Context(), `SELECT max(bundle_id) FROM tide.bundles`).Scan(&position); err != nil || position == nil {
		t.Errorf("nothing is sealed: %v", err)
	}
}

// A seal that fails is everybody's answer, and the next one is tried anew.
func TestFailedSeal(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	group := NewGroup(db.Pool)
	exec(t, db, `ALTER TABLE tide.seal_lock RENAME TO elsewhere`)
	if _, err := group.Seal(t.Context()); err == nil {
		t.Error("it sealed")
	}
	if err := group.Run(t.Context(), Config{}); err == nil {
		t.Error("the duty goes on where trying again cannot help")
	}
	exec(t, db, `ALTER TABLE tide.elsewhere RENAME TO seal_lock`)
	if _, err := group.Seal(t.Context()); err != nil {
		t.Error(err)
	}
}

// The duty ends sessions that have expired, and leaves the others.
func TestRunCleansSessions(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	exec(t, db, `INSERT INTO tide.push_session (user_id, source_id, slot, source_bundle_id, planned_row_count, expires_at)
		VALUES ('1', 'old', 1, 1, 1, now() - interval '1 minute'), ('1', 'new', 2, 1, 1, now() + interval '1 hour')`)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, db.Pool, Config{Interval: 5 * time.Millisecond, CleanInterval: 10 * time.Millisecond})
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var sources string
		if err := db.QueryRow(t.Context(), `SELECT string_agg(source_id, ',') FROM tide.push_session`).Scan(&sources); err != nil {
			t.Fatal(err)
		}
		if sources == "new" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("sessions: %s", sources)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Every process looks whether there is something to seal, and seals it, so that one that is killed is not
// missed for longer than the others wait.
func TestEveryProcessLooksEachSecond(t *testing.T) {
	t.Parallel()
	if got := (Config{}).withDefaults().IdleInterval; got > time.Second {
		t.Errorf("a process that has found nothing looks again after %v", got)
	}
}

// While somebody waits for what is written, the interval does not matter; what is quiet is not sealed.
func TestEagerSealing(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, db.Pool, Config{Interval: time.Hour, Eager: func() bool { return true }, EagerInterval: time.Millisecond})
	}()
	for i := range 3 {
		exec(t, db, fmt.Sprintf(`INSERT INTO app.item VALUES (%d, 1)`, i))
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			var sealed int
			if err := db.QueryRow(t.Context(), `SELECT count(*) FROM tide.bundles`).Scan(&sealed); err != nil {
				t.Fatal(err)
			}
			if sealed == i+1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d bundles after %d writes", sealed, i+1)
			}
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	group, committed := NewGroup(db.Pool), ""
	last, err := group.sealNew(t.Context(), 0, &committed)
	if err != nil {
		t.Fatal(err)
	}
	// Others write to this server too, so that a look may find it changed: not each time.
	skipped := 0
	group.Observe = func(string, time.Duration, error) { skipped-- }
	for range 200 {
		skipped++
		again, err := group.sealNew(t.Context(), last, &committed)
		if err != nil || again != last {
			t.Fatalf("got %d after %d: %v", again, last, err)
		}
	}
	if skipped == 0 {
		t.Error("it seals although nothing is committed")
	}
}
