package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
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

	a.SetMode(PushOnly)
	s.exec(t, `UPDATE app.list SET title = 'three' WHERE id = 'l'`)
	becomes(t, b, titles, "three")
	do(t, a, `INSERT INTO list (id, title) VALUES ('m', 'from a')`)
	becomes(t, b, titles, "three,from a")
	is(t, rows(t, a, titles), "two,from a")

	a.SetMode(PullOnly)
	becomes(t, a, titles, "three,from a")
	do(t, a, `INSERT INTO list (id, title) VALUES ('n', 'waits')`)
	s.exec(t, `UPDATE app.list SET title = 'four' WHERE id = 'l'`)
	becomes(t, a, titles, "four,from a,waits")
	is(t, s.there(t, `SELECT count(*) FROM app.list`), "2")

	a.SetMode(Both)
	becomes(t, b, titles, "four,from a,waits")

	a.SetMode(Paused)
	a.syncing.Lock() // what it was about is done
	do(t, a, `UPDATE list SET title = 'paused' WHERE id = 'm'`)
	a.syncing.Unlock()
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
