package watch

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

const schema = `
	CREATE SCHEMA app;
	CREATE TABLE app.item (id bigint PRIMARY KEY, owner text, n int);
	SELECT tide.register_table('app.item', owner_column => 'owner')`

func exec(t testing.TB, db *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// write changes the row of a user, and seals.
func write(t testing.TB, db *pgxpool.Pool, user string) {
	t.Helper()
	exec(t, db, fmt.Sprintf(`INSERT INTO app.item VALUES (hashtext('%[1]s'), '%[1]s', 0) ON CONFLICT (id) DO UPDATE SET n = item.n + 1`, user), `SELECT tide.seal()`)
}

func run(t testing.TB, pool *pgxpool.Pool, config Config) (h *Hub, stop func()) {
	t.Helper()
	h = New(pool, config)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	eventually(t, "the hub to run", h.Running)
	return h, stop
}

// listening waits until the hub hears of seals.
func (h *Hub) listening(t testing.TB) {
	t.Helper()
	eventually(t, "the hub to listen", func() bool {
		h.mutex.Lock()
		defer h.mutex.Unlock()
		return h.heard.listening
	})
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// until takes events up to this bundle of a bucket, and fails at one of a bucket that is not watched.
func (s *Subscription) until(t testing.TB, bucket string, seq int64) {
	t.Helper()
	timeout := time.After(patience)
	for {
		for _, event := range s.Take(nil) {
			known := false
			for _, b := range s.buckets {
				known = known || b == event.Bucket
			}
			if !known {
				t.Fatalf("heard of %s", event.Bucket)
			}
			if event.Bucket == bucket && event.BundleSeq >= seq {
				if event.BundleSeq > seq {
					t.Fatalf("heard of bundle %d of %s, which has %d", event.BundleSeq, bucket, seq)
				}
				return
			}
		}
		select {
		case <-s.Wake():
		case <-s.Ended():
			t.Fatal("it ended")
		case <-timeout:
			t.Fatalf("bundle %d of %s is not heard of", seq, bucket)
		}
	}
}

// Each hears of the buckets he watches; of many bundles he keeps the last.
func TestEachHearsOfHisBuckets(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db.Pool, schema, `SELECT tide.seal()`)
	h, stop := run(t, db.Pool, Config{})
	h.listening(t)
	ann, both, none := h.Subscribe("user:ann"), h.Subscribe("user:ann", "user:bob"), h.Subscribe("user:none")
	for i := range 10 {
		write(t, db.Pool, "ann")
		write(t, db.Pool, "bob")
		write(t, db.Pool, "eve")
		ann.until(t, "user:ann", int64(i+1))
	}
	both.until(t, "user:bob", 10)
	for _, left := range both.Take(nil) {
		if left.BundleSeq != 10 {
			t.Errorf("of many bundles it keeps %+v", left)
		}
	}
	if len(none.Take(nil)) != 0 {
		t.Error("somebody heard of another's bucket")
	}
	for _, s := range []*Subscription{ann, both, none} {
		s.Close()
	}
	if h.Subscribers() != 0 || len(h.topics) != 0 {
		t.Errorf("%d subscribers are left, %d buckets", h.Subscribers(), len(h.topics))
	}
	last := h.Subscribe("user:ann")
	stop()
	<-last.Ended()
	last.Close()
}

// A bundle of many buckets, and many bundles, are read page by page.
func TestManyBundlesAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db.Pool, schema, `SELECT tide.seal()`)
	h, _ := run(t, db.Pool, Config{})
	h.listening(t)
	s := h.Subscribe("user:1", "user:2500", "user:x")
	defer s.Close()
	s.follows(t, db.Pool)
	exec(t, db.Pool, `INSERT INTO app.item SELECT g, g::text FROM generate_series(1, 2500) AS g`,
		`DO $$ BEGIN FOR i IN 1..1500 LOOP UPDATE app.item SET n = i WHERE id = 1; COMMIT; END LOOP; END $$`, `SELECT tide.seal()`)
	s.until(t, "user:1", 1501)
	write(t, db.Pool, "2500")
	s.until(t, "user:2500", 2)
}

// follows waits until the hub follows the log.
func (s *Subscription) follows(t testing.TB, db *pgxpool.Pool) {
	t.Helper()
	write(t, db, "x")
	s.until(t, "user:x", 1)
}

// The connection that listens is killed again and again amid writes: nothing is missed.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]Config{
		// Polling that takes longer than the test shows what listening does.
		"listening": {PollInterval: time.Hour},
		"polling":   {PollOnly: true, PollInterval: 5 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db.Pool, schema, `SELECT tide.seal()`)
			// A pool of its own, so that what is killed is what the hub uses.
			poolConfig := db.Config()
			poolConfig.ConnConfig.RuntimeParams["application_name"] = "the hub"
			pool, err := pgxpool.NewWithConfig(t.Context(), poolConfig)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			h, stop := run(t, pool, config)
			defer stop()
			if !config.PollOnly {
				h.listening(t)
			}
			s := h.Subscribe("user:ann")
			defer s.Close()
			for i := range 30 {
				if i%3 == 0 {
					exec(t, db.Pool, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'the hub'`)
				}
				write(t, db.Pool, "ann")
				if i%4 == 0 {
					s.until(t, "user:ann", int64(i+1))
				}
			}
			s.until(t, "user:ann", 30)
		})
	}
}

// While the connection that listens cannot be had, polling stands in; and where LISTEN is swallowed too.
func TestPollingStandsIn(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db.Pool, schema, `SELECT tide.seal()`)
	nowhere, err := pgx.ParseConfig("postgres://127.0.0.1:1/x")
	if err != nil {
		t.Fatal(err)
	}
	h, _ := run(t, db.Pool, Config{Listen: nowhere, PollInterval: 10 * time.Millisecond})
	s := h.Subscribe("user:ann")
	defer s.Close()
	for i := range 10 {
		write(t, db.Pool, "ann")
		s.until(t, "user:ann", int64(i+1))
	}
	// A connection that listens to another database hears nothing, as through a pooler.
	other := pgtest.Empty(t)
	deafConfig, err := pgx.ParseConfig(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	deafHub := New(db.Pool, Config{Listen: deafConfig, PollInterval: 10 * time.Millisecond})
	deafHub.place = place{known: true}
	deafHub.heard = heard{listening: true}
	watching := deafHub.Subscribe("user:ann")
	defer watching.Close()
	for i := range deaf {
		write(t, db.Pool, "ann")
		wait, err := deafHub.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if polls := wait == deafHub.config.PollInterval; polls != (i+1 == deaf) {
			t.Errorf("after %d looks that found what was not heard of, the next is in %v", i+1, wait)
		}
	}
	watching.until(t, "user:ann", 10+deaf)
}

// PostgreSQL is restarted amid writes; what was sealed while it went down is told when it is back.
func TestRestart(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := pgtest.NewOn(t, cluster)
	exec(t, db.Pool, schema, `SELECT tide.seal()`)
	h, _ := run(t, db.Pool, Config{PollInterval: time.Hour})
	h.listening(t)
	s := h.Subscribe("user:ann")
	defer s.Close()
	write(t, db.Pool, "ann")
	s.until(t, "user:ann", 1)
	if err := cluster.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.Reset()
	write(t, db.Pool, "ann")
	s.until(t, "user:ann", 2)
	write(t, db.Pool, "ann")
	s.until(t, "user:ann", 3)
}

// A seal is told once, however many bundles it made, and one that found nothing is not.
func TestEverySealIsToldOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db.Pool, schema, `SELECT tide.seal()`)
	ear := db.Connect(t, db.URL)
	if _, err := ear.Exec(t.Context(), listen); err != nil {
		t.Fatal(err)
	}
	var want []string
	for range 3 {
		for i := range 20 {
			exec(t, db.Pool, fmt.Sprintf(`INSERT INTO app.item VALUES (%d, 'user %[1]d', 0) ON CONFLICT (id) DO UPDATE SET n = item.n + 1`, i))
		}
		var head string
		if err := db.QueryRow(t.Context(), `SELECT tide.seal()::text`).Scan(&head); err != nil {
			t.Fatal(err)
		}
		want = append(want, head)
		exec(t, db.Pool, `SELECT tide.seal()`)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, head := range want {
		if said, err := ear.WaitForNotification(ctx); err != nil || said.Payload != head {
			t.Fatalf("heard %v (%v), want %s", said, err, head)
		}
	}
}

// A log that goes back ends what was told, and is followed from where it stands.
func TestRestoredHistory(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db.Pool, schema, `SELECT tide.seal()`)
	h, _ := run(t, db.Pool, Config{})
	h.listening(t)
	s := h.Subscribe("user:ann")
	for i := range 3 {
		write(t, db.Pool, "ann")
		s.until(t, "user:ann", int64(i+1))
	}
	// The last write was never made.
	exec(t, db.Pool, `BEGIN;
		DELETE FROM tide.change_log WHERE xid = (SELECT xid FROM tide.bundle_log WHERE bundle_id = tide.head());
		DELETE FROM tide.key_log WHERE xid = (SELECT xid FROM tide.bundle_log WHERE bundle_id = tide.head());
		DELETE FROM tide.bundle_log WHERE bundle_id = tide.head();
		DELETE FROM tide.seal_log WHERE last_bundle_id = tide.head();
		NOTIFY tide_sealed; COMMIT`)
	select {
	case <-s.Ended():
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
	s.Close()
	s = h.Subscribe("user:ann")
	defer s.Close()
	write(t, db.Pool, "ann")
	s.until(t, "user:ann", 3)
}

// A hub leaves no goroutine behind, and holds its tongue when it does not run.
func TestHubLeavesNothing(t *testing.T) {
	db := pgtest.New(t)
	exec(t, db.Pool, schema, `SELECT tide.seal()`)
	before := runtime.NumGoroutine()
	h, stop := run(t, db.Pool, Config{})
	h.listening(t)
	s := h.Subscribe("user:ann")
	write(t, db.Pool, "ann")
	s.until(t, "user:ann", 1)
	s.Close()
	stop()
	db.Reset()
	if h.Running() {
		t.Error("it runs")
	}
	eventually(t, "its goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	stacks := make([]byte, 1<<20)
	if stacks = stacks[:runtime.Stack(stacks, true)]; strings.Contains(string(stacks), "watch.(*Hub)") {
		t.Errorf("%s", stacks)
	}
}
