package troubletest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/internal/v1client"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/sealer"
	"github.com/pgtide/pgtide/runtime/server"
	"github.com/pgtide/pgtide/runtime/watch"
)

const (
	schema = `
		CREATE SCHEMA app;
		CREATE TABLE app.counter (id text PRIMARY KEY, owner_id text NOT NULL, n bigint NOT NULL, note text);
		SELECT tide.register_table('app.counter', owner_column => 'owner_id', push_policy => 'owner_only')`
	// patience is more than any recovery takes, on a busy machine.
	patience = 40 * time.Second
)

// site is a server on a database, with the devices of one user.
type site struct {
	db     *pgtest.DB
	pool   *pgxpool.Pool
	server *server.Server
	web    *httptest.Server
	refuse atomic.Int64 // answers that were 503
	stop   func()
}

// newSite serves what url leads to. Whatever the database does, no answer is a fault of the server.
func newSite(t *testing.T, db *pgtest.DB, url string) *site {
	t.Helper()
	return newWatchedSite(t, db, url, watch.Config{})
}

// newWatchedSite says how it hears of seals, too.
func newWatchedSite(t *testing.T, db *pgtest.DB, url string, hearing watch.Config) *site {
	t.Helper()
	s := &site{db: db}
	s.exec(t, schema)
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 6
	config.ConnConfig.ConnectTimeout = 2 * time.Second
	config.ConnConfig.RuntimeParams["application_name"] = "front"
	if s.pool, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	s.server = server.New(s.pool, server.Config{RequestTimeout: 3 * time.Second, LockTimeout: time.Second, Watch: hearing, Sealing: sealer.Config{Interval: 20 * time.Millisecond}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.server.Run(ctx) }()
	s.web = httptest.NewServer(asAnn(s.watched(t)))
	s.stop = func() {
		s.stop = func() {}
		s.web.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("sealing ended: %v", err)
		}
		s.pool.Close()
	}
	t.Cleanup(func() { s.stop() })
	return s
}

func asAnn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: "ann"})))
	})
}

// watched holds every answer to what is promised.
func (s *site) watched(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &seenStatus{ResponseWriter: w}
		s.server.ServeHTTP(seen, r)
		switch {
		case seen.status == http.StatusServiceUnavailable:
			s.refuse.Add(1)
			if w.Header().Get("Retry-After") == "" {
				t.Errorf("%s %s: 503 without Retry-After", r.Method, r.URL.Path)
			}
		case seen.status >= http.StatusInternalServerError:
			t.Errorf("%s %s: %d", r.Method, r.URL.Path, seen.status)
		}
	})
}

type seenStatus struct {
	http.ResponseWriter
	status int
}

func (w *seenStatus) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *seenStatus) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *site) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := s.db.Exec(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// ask sends a request as ann's desk.
func (s *site) ask(t *testing.T, method, path, body string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.web.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Oversync-Source-ID", "desk")
	response, err := s.web.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// get is the status and the body of the answer.
func (s *site) get(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	response := s.ask(t, method, path, body)
	defer func() { _ = response.Body.Close() }() // it was read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// answer is the body of the answer that comes once a busy machine has the time.
func (s *site) answer(t *testing.T, method, path, body string) (text string) {
	t.Helper()
	until(t, method+" "+path, func() bool {
		var status int
		status, text = s.get(t, method, path, body)
		return status == http.StatusOK
	})
	return text
}

// until waits for what must come.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// counter is a device that counts in a row of its own.
type counter struct {
	*v1client.Device
	id string
	n  int64
}

func (s *site) counter(t *testing.T, i int) *counter {
	t.Helper()
	device, err := v1client.New(v1client.Config{
		URL: s.web.URL, Token: "none is looked at", Schema: "app", Client: s.web.Client(), MaxRetryWait: 50 * time.Millisecond,
		Tables: []v1client.Table{{Name: "counter", Key: []string{"id"}, Columns: []string{"id", "owner_id", "n", "note"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &counter{Device: device, id: fmt.Sprintf("device %d", i)}
}

// count makes a change and exchanges it, if it can.
func (c *counter) count(t *testing.T) bool {
	t.Helper()
	if c.Attached() && c.Pending() == 0 {
		write := c.Update
		if _, there := c.Rows("counter")[c.id]; !there {
			write = c.Insert
		}
		c.n++
		if err := write("counter", fmt.Sprintf(`{"id":%q,"owner_id":"ann","n":%d,"note":null}`, c.id, c.n)); err != nil {
			t.Error(err)
		}
	}
	return c.sync(t)
}

// sync says whether the exchange went through. Only trouble that passes may keep it from that.
func (c *counter) sync(t *testing.T) bool {
	t.Helper()
	err := c.Sync(t.Context())
	var refused *v1client.APIError
	var lost *v1client.LostError
	switch {
	case err == nil:
		return true
	case errors.As(err, &refused) && (refused.Status == http.StatusServiceUnavailable || refused.Code == "push_session_not_found"):
		// Staged chunks do not outlive a crash; the device begins its push again.
	case !errors.As(err, &lost):
		t.Errorf("%s: %v", c.id, err)
	}
	return false
}

// settle exchanges what is pending, and holds device and table against each other.
func (s *site) settle(t *testing.T, devices []*counter) {
	t.Helper()
	for _, c := range devices {
		until(t, c.id, func() bool { return c.sync(t) && c.Pending() == 0 })
	}
	s.db.Reset()
	for _, c := range devices {
		until(t, c.id, func() bool { return c.sync(t) })
		mine := c.Rows("counter")
		if len(mine) != len(devices) {
			t.Errorf("%s holds %d rows", c.id, len(mine))
		}
		for _, other := range devices {
			var n int64
			if err := s.db.QueryRow(t.Context(), `SELECT n FROM app.counter WHERE id = $1`, other.id).Scan(&n); err != nil || n != other.n {
				t.Errorf("%s counted to %d, the table to %d (%v)", other.id, other.n, n, err)
			}
			if want := fmt.Sprintf(`"n":%d,`, other.n); !strings.Contains(mine[other.id], want) {
				t.Errorf("%s holds %s, and not %s", c.id, mine[other.id], want)
			}
		}
	}
	var twice int
	if err := s.db.QueryRow(t.Context(), `SELECT count(*) FROM (SELECT FROM tide.bundles WHERE source_id <> 'server' GROUP BY source_id, source_bundle_id, bucket_id HAVING count(*) > 1) AS t`).Scan(&twice); err != nil || twice > 0 {
		t.Errorf("%d pushes are there twice (%v)", twice, err)
	}
}
