package client

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// runs runs a client until the test ends.
func runs(t testing.TB, c *Client) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// becomes waits until a query has this answer.
func becomes(t testing.TB, c *Client, query, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got := rows(t, c, query)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s stays\n%s\nand not\n%s", query, got, want)
		}
	}
}

// switches changes the mode, and waits for what was under way in the one before.
func switches(c *Client, mode Mode) {
	c.SetMode(mode)
	c.syncing.Lock()
	defer c.syncing.Unlock()
}

// Run pushes what is written, hears of what others wrote without asking, and does as the mode says.
func TestRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.runs(t)
	never := func(c *Config) { c.PollInterval, c.LookInterval = time.Hour, 5*time.Millisecond }
	a, b := s.device(t, "7", never), s.device(t, "7", never)
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one')`)
	runs(t, a)
	becomes(t, a, `SELECT seen FROM list`, "yes") // until then b would be asked to wait for half a minute
	runs(t, b)
	const titles = `SELECT group_concat(title) FROM (SELECT title FROM list ORDER BY id)`
	becomes(t, b, titles, "one")
	do(t, b, `UPDATE list SET title = 'two'`)
	becomes(t, a, titles, "two")

	switches(a, PushOnly)
	s.exec(t, `UPDATE app.list SET title = 'three' WHERE id = 'l'`)
	becomes(t, b, titles, "three")
	do(t, a, `INSERT INTO list (id, title) VALUES ('m', 'from a')`)
	becomes(t, b, titles, "three,from a")
	is(t, rows(t, a, titles), "two,from a")

	switches(a, PullOnly)
	becomes(t, a, titles, "three,from a")
	do(t, a, `INSERT INTO list (id, title) VALUES ('n', 'waits')`)
	s.exec(t, `UPDATE app.list SET title = 'four' WHERE id = 'l'`)
	becomes(t, a, titles, "four,from a,waits")
	is(t, s.there(t, `SELECT count(*) FROM app.list`), "2")

	a.SetMode(Both)
	becomes(t, b, titles, "four,from a,waits")

	switches(a, Paused)
	do(t, a, `UPDATE list SET title = 'paused' WHERE id = 'm'`)
	do(t, b, `UPDATE list SET title = 'five' WHERE id = 'l'`)
	for deadline := time.Now().Add(time.Minute); s.there(t, `SELECT title FROM app.list WHERE id = 'l'`) != "five"; {
		if time.Now().After(deadline) {
			t.Fatal("the other device stands still too")
		}
	}
	is(t, rows(t, a, titles), "four,paused,waits")
	is(t, s.there(t, `SELECT title FROM app.list WHERE id = 'm'`), "from a")
	a.SetMode(Both)
	becomes(t, b, titles, "five,paused,waits")
	becomes(t, a, titles, "five,paused,waits")
}

// What others write into shared buckets is heard of too, also in those that came while it ran.
func TestRunHearsOfSharedBuckets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `SELECT tide.add_access_dependency('app.member', 'user_id')`)
	s.exec(t, `INSERT INTO app.notice VALUES (1, '{red}', 'r'); INSERT INTO app.member VALUES ('7', 'red')`)
	s.runs(t)
	a := s.device(t, "7", func(c *Config) { c.PollInterval = time.Hour })
	runs(t, a)
	const notices = `SELECT group_concat(body) FROM (SELECT body FROM notice ORDER BY id)`
	becomes(t, a, notices, "r")
	s.exec(t, `UPDATE app.notice SET body = 'red' WHERE id = 1`)
	becomes(t, a, notices, "red")
	s.exec(t, `INSERT INTO app.notice VALUES (2, '{blue}', 'b'); INSERT INTO app.member VALUES ('7', 'blue')`)
	becomes(t, a, notices, "red,b")
	s.exec(t, `UPDATE app.notice SET body = 'blue' WHERE id = 2`)
	becomes(t, a, notices, "red,blue")
	s.exec(t, `DELETE FROM app.member WHERE team = 'red'`)
	becomes(t, a, notices, "blue")
}

// A server that is away is asked again, and an app that is too old is told so.
func TestRunGoesOnAndEnds(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		if got := r.Header.Get("Tide-App-Version"); got != "1.2.3" {
			t.Errorf("the server hears of version %q", got)
		}
		w.WriteHeader(http.StatusUpgradeRequired)
		_, _ = w.Write([]byte(`{"error":"client_too_old","message":"too old","min_app_version":"2.0.0"}`)) // the device is there
	}))
	t.Cleanup(web.Close)
	c, err := Open(context.Background(), t.TempDir()+"/device.db", Config{URL: web.URL, User: "7", MaxBackoff: time.Millisecond, AppVersion: "1.2.3",
		Tables: []Table{{Schema: "app", Name: "t", PrimaryKey: []string{"id"}, Columns: []Column{{Name: "id", Kind: "integer"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // The test is over.
	var refused *ServerError
	if err := c.Run(context.Background()); !errors.As(err, &refused) || refused.MinAppVersion != "2.0.0" {
		t.Fatalf("Run ends with %v", err)
	}
}

// pauses hears how long Run says that it will wait, and makes it go on at once.
type pauses struct {
	slog.Handler
	woken func()
	heard []time.Duration
}

func (p *pauses) Enabled(context.Context, slog.Level) bool { return true }

func (p *pauses) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "in" {
			p.heard = append(p.heard, a.Value.Duration())
			p.woken()
		}
		return true
	})
	return nil
}

// What fails is tried again ever less often, at other times than those of other devices, never later than the
// Config says, but when the server says so; and soon again once it went well.
func TestRunBacksOff(t *testing.T) {
	t.Parallel()
	const rounds, most = 24, time.Minute
	var heard [2][]time.Duration
	for device := range heard {
		asked := 0
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/sync/watch" {
				http.Error(w, "away", http.StatusBadGateway)
				return
			}
			asked++
			switch asked {
			case rounds:
				w.Header().Set("Retry-After", strconv.Itoa(7200))
			case rounds + 1: // it goes well once, which takes two requests: to connect, and to pull
				_, _ = w.Write([]byte(`{"cursor":"c","resolution":"remote_authoritative"}`)) // a device that hung up asks again
				return
			case rounds + 2:
				_, _ = w.Write([]byte(`{"cursor":"d"}`)) // as above: it asks again
				return
			case rounds + 4:
				w.WriteHeader(http.StatusUpgradeRequired)
				return
			}
			http.Error(w, "away", http.StatusServiceUnavailable)
		}))
		t.Cleanup(web.Close)
		p := &pauses{Handler: slog.DiscardHandler}
		c, err := Open(t.Context(), t.TempDir()+"/device.db", Config{URL: web.URL, User: "7", MaxBackoff: most, PollInterval: time.Millisecond, Logger: slog.New(p),
			Tables: []Table{{Schema: "app", Name: "t", PrimaryKey: []string{"id"}, Columns: []Column{{Name: "id", Kind: "integer"}}}}})
		if err != nil {
			t.Fatal(err)
		}
		p.woken = c.Wake
		var refused *ServerError
		if err := c.Run(t.Context()); !errors.As(err, &refused) || refused.Status != http.StatusUpgradeRequired {
			t.Fatalf("Run ends with %v", err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		heard[device] = p.heard
		if len(p.heard) != rounds+1 {
			t.Fatalf("it waited %d times: %v", len(p.heard), p.heard)
		}
		for n, pause := range p.heard[:rounds-1] {
			base := min(500*time.Millisecond*time.Duration(1<<min(n, 20)), most) // it grows by half each time
			if pause > base*3/2 || pause > most || n == 0 && pause < 250*time.Millisecond || n > rounds/2 && pause < most/4 {
				t.Errorf("pause %d is %v", n, pause)
			}
		}
		if p.heard[rounds-1] != 2*time.Hour {
			t.Errorf("the server said to come again in two hours, and it waits %v", p.heard[rounds-1])
		}
		if p.heard[rounds] > 750*time.Millisecond {
			t.Errorf("after it went well it waits %v", p.heard[rounds])
		}
	}
	if slices.Equal(heard[0][:rounds-1], heard[1][:rounds-1]) {
		t.Errorf("two devices come at the same time: %v", heard[0])
	}
}

// Without the stream of events a device asks from time to time, and once there is one again it hears of news.
func TestRunPolls(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var open, watched atomic.Bool
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/sync/watch" && !open.Load() {
				watched.Store(true)
				http.Error(w, "no", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	write := func(title string) {
		s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('l', '7', '`+title+`') ON CONFLICT (id) DO UPDATE SET title = excluded.title`)
		s.seal(t)
	}
	write("one")
	polls := s.device(t, "7", func(c *Config) { c.PollInterval, c.LookInterval = 5*time.Millisecond, time.Hour })
	hears := s.device(t, "7", func(c *Config) { c.PollInterval, c.LookInterval = time.Hour, time.Hour })
	synced(t, hears)
	runs(t, polls)
	runs(t, hears)
	becomes(t, polls, `SELECT title FROM list`, "one")
	write("two")
	becomes(t, polls, `SELECT title FROM list`, "two")
	for deadline := time.Now().Add(time.Minute); !watched.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody asks for the stream")
		}
	}
	s.runs(t)
	open.Store(true)
	for n := 0; ; n++ { // it may hear before it listens, or after
		write("news " + strconv.Itoa(n))
		if got := rows(t, hears, `SELECT title FROM list`); got != "one" && got != "two" {
			return
		}
		if n > 3000 {
			t.Fatal("the stream is there again, and nothing is heard of it")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
