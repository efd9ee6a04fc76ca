package troubletest

import (
	"bufio"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/server"
	"github.com/pgtide/pgtide/runtime/watch"
)

// The whole exchange goes through a PgBouncer in transaction mode, with fewer connections than there
// are devices, when statements are not prepared. Only what hears of seals has a connection of its own.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := pgtest.NewOn(t, cluster)
	if _, err := db.Exec(t.Context(), `CREATE ROLE front LOGIN IN ROLE tide_runtime`); err != nil {
		t.Fatal(err)
	}
	direct, err := pgx.ParseConfig(db.As("front"))
	if err != nil {
		t.Fatal(err)
	}
	direct.RuntimeParams["application_name"] = "ear"
	url := pgtest.Bounced(t, cluster, 4, "front")(db.As("front"))
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	// Nothing is polled: what is not heard is never told.
	s := newWatchedSite(t, db, url+separator+"default_query_exec_mode=exec", watch.Config{Listen: direct, PollInterval: time.Hour})
	devices := make([]*counter, 6)
	var group sync.WaitGroup
	for i := range devices {
		devices[i] = s.counter(t, i)
		group.Go(func() {
			for range 10 {
				devices[i].count(t)
			}
		})
	}
	group.Wait()
	s.settle(t, devices)
	// One more device begins from a snapshot, and the forms of pgtide say the same.
	fresh := s.counter(t, len(devices))
	until(t, "a fresh device", func() bool { return fresh.sync(t) })
	if len(fresh.Rows("counter")) != len(devices) {
		t.Errorf("it holds %v", fresh.Rows("counter"))
	}
	if body := s.answer(t, http.MethodGet, "/sync/snapshot", ""); strings.Count(body, `"table":"counter"`) != len(devices) || !strings.Contains(body, `{"done":true`) {
		t.Errorf("the stream: %s", body)
	}
	if body := s.answer(t, http.MethodPost, "/sync/push", pushOf(1)); !strings.Contains(body, `"desk 1"`) {
		t.Errorf("a push: %s", body)
	}
	for _, path := range []string{"/sync/pull", "/sync/capabilities", "/readyz"} {
		s.answer(t, http.MethodGet, path, "")
	}
	s.watchThroughPgBouncer(t)
	preparedThroughPgBouncer(t, url)
}

// Whoever prepares statements by name nevertheless learns what to do, and no request is answered with 500.
func preparedThroughPgBouncer(t *testing.T, url string) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var log pgtest.Output
	web := httptest.NewServer(asAnn(server.New(pool, server.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})))
	defer web.Close()
	s := &site{web: web}
	until(t, "a statement that another session has", func() bool {
		var refused atomic.Bool
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				switch status, body := s.get(t, http.MethodGet, "/sync/pull", ""); status {
				case http.StatusOK:
				case http.StatusServiceUnavailable:
					refused.Store(true)
				default:
					t.Errorf("%d %s", status, body)
				}
			})
		}
		group.Wait()
		return refused.Load()
	})
	if !strings.Contains(log.String(), "--prepared-statements=false") {
		t.Errorf("the log does not say what to do: %s", log.String())
	}
}

// watchThroughPgBouncer hears of each write, also when the connection that listens was lost.
func (s *site) watchThroughPgBouncer(t *testing.T) {
	t.Helper()
	response := s.ask(t, http.MethodGet, "/sync/watch", "")
	defer func() { _ = response.Body.Close() }() // it was read
	var told atomic.Int64
	go func() {
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if id, is := strings.CutPrefix(lines.Text(), "id: "); is {
				seq, _ := strconv.ParseInt(id, 10, 64) // 0 is never waited for
				told.Store(seq)
			}
		}
	}()
	for round := range 4 {
		if round == 2 {
			s.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ear'`)
		}
		s.exec(t, `UPDATE app.counter SET note = clock_timestamp()`, `SELECT tide.seal()`)
		var head int64
		if err := s.db.QueryRow(t.Context(), `SELECT head_seq FROM tide.bucket_position('user:ann')`).Scan(&head); err != nil {
			t.Fatal(err)
		}
		until(t, "an event", func() bool { return told.Load() == head })
	}
}
