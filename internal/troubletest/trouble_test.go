package troubletest

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// pushOf is the push of this number, of one row.
func pushOf(number int) string {
	return fmt.Sprintf(`{"source_bundle_id":%d,"rows":[{"schema":"app","table":"counter","key":{"id":"desk %[1]d"},"op":"INSERT","base_row_version":0,"payload":{"id":"desk %[1]d","n":1}}]}`, number)
}

// Devices go on counting while the network to the database is bad in every way. In the end all that was
// counted is there once, and the server holds nothing that it should not.
func TestBadNetwork(t *testing.T) {
	db := pgtest.New(t)
	p, through := newProxy(t, db.URL)
	s := newSite(t, db, through)
	devices := []*counter{s.counter(t, 1), s.counter(t, 2), s.counter(t, 3)}
	for _, c := range devices {
		until(t, "the first exchange", func() bool { return c.count(t) })
	}
	before := runtime.NumGoroutine()
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, c := range devices {
		group.Go(func() {
			for ctx.Err() == nil {
				c.count(t)
			}
		})
	}
	for _, w := range []weather{refused, calm, slow, cut, silent, calm, cut, refused, slow, calm} {
		p.set(w)
		time.Sleep(time.Second)
	}
	stop()
	group.Wait()
	s.settle(t, devices)
	until(t, "transactions that were given up", func() bool {
		var open int
		err := db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'front' AND datname = current_database() AND state <> 'idle'`).Scan(&open)
		return err == nil && open == 0
	})
	s.web.CloseClientConnections()
	// A connection of the pool that is busy for the moment has one of its own, and one in the proxy each way.
	until(t, "goroutines", func() bool { return runtime.NumGoroutine() <= before+3*int(s.pool.Config().MaxConns) })
	if s.refuse.Load() == 0 {
		t.Error("nobody noticed")
	}
	s.stop()
	p.close()
	until(t, "the end of all goroutines", func() bool {
		stacks := make([]byte, 1<<20)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "pgtide/runtime/")
	})
}

// Trouble of every kind is 503 while it lasts, and over when it is over.
func TestTroubleThatPasses(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := pgtest.NewOn(t, cluster)
	if _, err := db.Exec(t.Context(), `CREATE ROLE front LOGIN IN ROLE tide_runtime`); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, db, db.As("front"))
	s.answer(t, http.MethodPost, "/sync/connect", `{"has_local_pending_rows":false}`)
	const kick = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'front'`
	held := func(lock string) func() func() {
		return func() func() {
			tx, err := db.Begin(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(context.Background(), lock); err != nil {
				t.Fatal(err)
			}
			return func() { _ = tx.Rollback(context.Background()) } // it only held a lock
		}
	}
	said := func(begin []string, end ...string) func() func() {
		return func() func() {
			s.exec(t, begin...)
			return func() { s.exec(t, end...) }
		}
	}
	number := 0
	for name, trouble := range map[string]func() func(){
		"read only":           said([]string{`ALTER ROLE front SET default_transaction_read_only = on`, kick}, `ALTER ROLE front RESET default_transaction_read_only`),
		"no more connections": said([]string{`ALTER ROLE front CONNECTION LIMIT 0`, kick}, `ALTER ROLE front CONNECTION LIMIT -1`),
		"disk full": said([]string{
			`CREATE FUNCTION app.full() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END$$`,
			`CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON app.counter EXECUTE FUNCTION app.full()`}, `DROP FUNCTION app.full() CASCADE`),
		"a locked table":    held(`LOCK TABLE app.counter`),
		"a seal that waits": held(`LOCK TABLE tide.seal_lock`),
		"slow statements": said([]string{
			`CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(60); RETURN NULL; END$$`,
			`CREATE TRIGGER slow AFTER INSERT OR UPDATE ON app.counter EXECUTE FUNCTION app.slow()`}, `DROP FUNCTION app.slow() CASCADE`),
		"the pool is taken": func() func() {
			var all []func()
			for range s.pool.Config().MaxConns {
				conn, err := s.pool.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, conn.Release)
			}
			return func() {
				for _, release := range all {
					release()
				}
			}
		},
		"the server stopped": func() func() {
			if err := cluster.Kill(); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := cluster.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				db.Reset()
			}
		},
	} {
		number++
		t.Run(name, func(t *testing.T) {
			push := pushOf(number)
			over := trouble()
			for range 2 {
				if status, body := s.get(t, http.MethodPost, "/sync/push", push); status != http.StatusServiceUnavailable || !strings.Contains(body, `"retryable":true`) {
					t.Errorf("a push: %d %s", status, body)
				}
			}
			over()
			until(t, "a push", func() bool {
				status, _ := s.get(t, http.MethodPost, "/sync/push", push)
				return status == http.StatusOK
			})
		})
	}
	var rows, bundles int
	err := db.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM app.counter), (SELECT count(*) FROM tide.bundles WHERE source_id = 'desk')`).Scan(&rows, &bundles)
	if err != nil || rows != number || bundles != number {
		t.Errorf("%d pushes made %d rows and %d bundles (%v)", number, rows, bundles, err)
	}
}

// A standby takes over: what was answered is there, and devices go on.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary := pgtest.Private(t, pgtest.ClusterConfig{Settings: map[string]string{"synchronous_commit": "on"}})
	db := pgtest.NewOn(t, primary)
	p, through := newProxy(t, db.URL)
	s := newSite(t, db, through)
	standby, err := primary.NewStandby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Remove)
	s.exec(t, `ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`)
	// Commits wait for the standby from when the checkpointer has read that too.
	until(t, "the setting", func() bool {
		var names string
		return db.QueryRow(t.Context(), `SHOW synchronous_standby_names`).Scan(&names) == nil && names == "*"
	})
	s.exec(t, `CHECKPOINT`)
	devices := []*counter{s.counter(t, 1), s.counter(t, 2)}
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, c := range devices {
		group.Go(func() {
			for ctx.Err() == nil {
				c.count(t)
			}
		})
	}
	until(t, "some pushes", func() bool {
		var n int
		return db.QueryRow(t.Context(), `SELECT count(*) FROM tide.push_log`).Scan(&n) == nil && n > 5
	})
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	// For a while the standby is there, and is none to write to.
	name := db.Config().ConnConfig.Database
	p.lead(t, standby.URL(name))
	seen := s.refuse.Load()
	until(t, "refusals", func() bool { return s.refuse.Load() > seen })
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh, err := pgxpool.New(t.Context(), standby.URL(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fresh.Close)
	s.db = &pgtest.DB{Pool: fresh, URL: standby.URL(name)}
	s.exec(t, `ALTER SYSTEM SET synchronous_standby_names = ''`, `SELECT pg_reload_conf()`)
	time.Sleep(time.Second)
	stop()
	group.Wait()
	s.settle(t, devices)
}
