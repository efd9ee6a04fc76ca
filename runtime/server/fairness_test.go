package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Twenty devices of one user ask for what takes long; another user is served meanwhile with all that there
// is, on as few connections as a small database has.
func TestAGreedyUserAndAModestOne(t *testing.T) {
	t.Parallel()
	f := newFrontOf(t, Config{LockTimeout: time.Minute}, 4)
	greedy, modest := f.device("greedy", "a").connect(t), f.device("modest", "b").connect(t)
	greedy.push(t, 1, note("INSERT", 1, 0, ``))
	tx, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // it only held a lock
	if _, err := tx.Exec(t.Context(), `SELECT FROM app.note FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	statuses := make(chan int, 20)
	for i := range cap(statuses) {
		go func() {
			got, err := f.device("greedy", fmt.Sprint(i)).try(http.MethodPost, "/sync/push", pushOf(1, note("UPDATE", 1, 1, `"body":"z"`)))
			if err != nil {
				t.Error(err)
			}
			statuses <- got.status
		}()
	}
	share := f.server.shares.of("greedy")
	eventually(t, "the greedy user to take all that he may", func() bool { return len(share.slots) == cap(share.slots) && f.waits(t) })
	modest.push(t, 1, note("INSERT", 2, 0, `"body":"m"`))
	modest.get(t, "/sync/pull").is(t, http.StatusOK, "")
	modest.post(t, "/sync/snapshot-sessions", "").is(t, http.StatusOK, "")
	modest.post(t, "/sync/verify", "{}").is(t, http.StatusOK, "")
	if got := modest.get(t, "/sync/snapshot"); got.status != http.StatusOK {
		t.Errorf("a snapshot: %d %s", got.status, got.body)
	}
	for range cap(statuses) - cap(share.slots) {
		if got := <-statuses; got != http.StatusTooManyRequests {
			t.Errorf("one too many: %d", got)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range cap(share.slots) {
		if got := <-statuses; got != http.StatusOK && got != http.StatusConflict {
			t.Errorf("one that waited: %d", got)
		}
	}
}

// What takes long is answered however short the timeouts of the host's own server are.
func TestStreamsOutliveTheHostsTimeouts(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{LockTimeout: time.Minute, BufferBytes: 1000})
	web := httptest.NewUnstartedServer(asHeaderSays(f.server))
	web.Config.WriteTimeout, web.Config.ReadTimeout = time.Second, time.Second
	web.Start()
	defer web.Close()
	f.exec(t, `INSERT INTO app.note SELECT i, 'u1', repeat('x', 1000) || i FROM generate_series(1, 3000) AS i`, `SELECT tide.seal()`)
	f.device("u1", "phone").connect(t)
	d := phone{&front{t: t, db: f.db, url: web.URL, client: web.Client()}, "u1", "phone"}
	tx, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // it only held a lock
	if _, err := tx.Exec(t.Context(), `LOCK TABLE app.note`); err != nil {
		t.Fatal(err)
	}
	answered := make(chan answer, 1)
	go func() {
		got, err := d.try(http.MethodGet, "/sync/snapshot", "")
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	eventually(t, "the snapshot to wait", func() bool { return f.waits(t) })
	time.Sleep(2 * web.Config.WriteTimeout)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got.status != http.StatusOK || len(got.body) < 3_000_000 {
		t.Errorf("got %d with %d bytes", got.status, len(got.body))
	}
	if got := d.with(t, http.MethodGet, "/sync/pull", "", "Accept", typeLines); got.status != http.StatusOK || len(got.body) < 3_000_000 {
		t.Errorf("a pull: %d with %d bytes", got.status, len(got.body))
	}
}

// waits says that a statement of somebody waits for a lock.
func (f *front) waits(t testing.TB) (waiting bool) {
	t.Helper()
	if err := f.db.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waiting); err != nil {
		t.Fatal(err)
	}
	return waiting
}

// Each bound of time is one: what takes longer is given up, and can be tried again.
func TestBoundsOfTime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config             Config
		method, path, body string
	}{
		"a snapshot": {Config{StreamTimeout: time.Second, LockTimeout: time.Hour}, http.MethodGet, "/sync/snapshot", ""},
		"a push":     {Config{RequestTimeout: time.Second, LockTimeout: time.Hour}, http.MethodPost, "/sync/push", pushOf(1, note("INSERT", 1, 0, ``))},
		"a lock":     {Config{RequestTimeout: time.Hour, LockTimeout: time.Second}, http.MethodPost, "/sync/push", pushOf(1, note("INSERT", 1, 0, ``))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, Config{})
			d := f.device("u1", "phone").connect(t)
			f.server.config = test.config.WithDefaults(40) // from here on
			err := pgx.BeginFunc(t.Context(), f.db, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), `LOCK TABLE app.note`); err != nil {
					return err
				}
				got, err := d.try(test.method, test.path, test.body)
				if err == nil {
					got.later(t, http.StatusServiceUnavailable, "service_unavailable", "1")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			f.server.config = Config{}.WithDefaults(40)
			if got, err := d.try(test.method, test.path, test.body); err != nil || got.status != http.StatusOK {
				t.Errorf("afterwards: %d %s %v", got.status, got.body, err)
			}
		})
	}
}

// A page of a pull ends where it has as much payload as it may.
func TestBytesOfAPull(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{MaxPullBytes: 3000})
	d := f.device("u1", "phone").connect(t)
	for n := range 4 {
		d.push(t, n+1, note("INSERT", n, 0, fmt.Sprintf(`"body":"%01000d"`, n)))
	}
	if got := d.get(t, "/sync/pull").is(t, http.StatusOK, ""); got.field(t, "has_more") != "true" {
		t.Errorf("a page has all %d bytes", len(got.body))
	}
}
