package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// losing answers nothing to requests that say so: what they asked for was done all the same.
func losing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Request-Id") != "lost" {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
}

// Answers are lost at every step, and asked for again by several at once: there is one effect, and
// everybody gets the first answer.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	web := httptest.NewServer(asHeaderSays(losing(f.server)))
	t.Cleanup(web.Close)
	f.url = web.URL
	d := f.device("u1", "phone")

	// again loses the answer, then asks eight times at once.
	again := func(path, body string) (answers []answer) {
		t.Helper()
		if _, err := d.send(http.MethodPost, path, body, "lost"); err == nil {
			t.Fatalf("%s: the answer was not lost", path)
		}
		var mutex sync.Mutex
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				got, err := d.try(http.MethodPost, path, body)
				mutex.Lock()
				defer mutex.Unlock()
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
				answers = append(answers, got)
			})
		}
		group.Wait()
		for _, got := range answers {
			got.is(t, http.StatusOK, "")
			if got.body != answers[0].body {
				t.Errorf("%s: got %s and %s", path, got.body, answers[0].body)
			}
		}
		return answers
	}

	again("/sync/connect", `{"has_local_pending_rows":false}`)
	again("/sync/push", pushOf(1, task("INSERT", taskA, 0, `"title":"a"`), note("INSERT", 1, 0, `"body":"x"`)))
	session := d.session(t, 2, 1)
	again(session+"/chunks", chunkOf(0, task("UPDATE", taskA, 1, `"title":"b"`)))
	first := again(session+"/commit", "")[0]
	again("/sync/push-sessions", `{"source_bundle_id":2,"planned_row_count":1}`)
	again("/sync/push", pushOf(3, note("DELETE", 1, 1, "")))

	if late := d.post(t, session+"/commit", ""); late.body != first.body {
		t.Errorf("late: got %s, want %s", late.body, first.body)
	}
	page := d.get(t, "/sync/pull").is(t, http.StatusOK, "")
	if got := page.field(t, "stable_bundle_seq"); got != "3" || strings.Count(page.body, `"source_id":"phone"`) != 3 {
		t.Errorf("three pushes are not three bundles: %s", page.body)
	}
	var rows int
	if err := f.db.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM app.task WHERE title = 'b') * 10 + (SELECT count(*) FROM app.note)`).Scan(&rows); err != nil || rows != 10 {
		t.Errorf("the tables hold %d (%v)", rows, err)
	}
}

// Many push to one row from one base: one wins, each other is told what it lost against.
func TestOneBaseManyPushes(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{QueueTimeout: time.Minute, LockTimeout: time.Minute})
	first := f.device("u1", "first").connect(t)
	first.push(t, 1, task("INSERT", taskA, 0, `"title":"a","rank":0`))
	const devices = 30
	var group sync.WaitGroup
	answers := make([]answer, devices)
	for i := range devices {
		d := f.device("u1", fmt.Sprintf("source-%d", i))
		group.Go(func() {
			got, err := d.try(http.MethodPost, "/sync/push", pushOf(1, task("UPDATE", taskA, 1, `"title":"`+d.source+`","rank":1`)))
			if err != nil {
				t.Errorf("push: %v", err)
			}
			answers[i] = got
		})
	}
	group.Wait()
	won := ""
	for i, got := range answers {
		switch got.status {
		case http.StatusOK:
			if won != "" {
				t.Errorf("%s and %d both won", won, i)
			}
			won = got.field(t, "source_id")
		case http.StatusConflict:
			if version := got.is(t, http.StatusConflict, "push_conflict").field(t, "conflict", "server_row_version"); version != "2" {
				t.Errorf("the conflict has version %s: %s", version, got.body)
			}
		default:
			t.Errorf("got %d %s", got.status, got.body)
		}
	}
	var title string
	if err := f.db.QueryRow(context.Background(), `SELECT title FROM app.task`).Scan(&title); err != nil || title != won {
		t.Errorf("%q won, the row is %q (%v)", won, title, err)
	}
}

// A device that goes away while its push waits leaves nothing behind, and its retry goes through.
func TestClientThatGoesAway(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("u1", "phone").connect(t)
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"a"`))
	tx, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM app.task FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	body := pushOf(2, task("UPDATE", taskA, 1, `"title":"b"`))
	impatient := *f.client
	impatient.Timeout = 200 * time.Millisecond
	f.client = &impatient
	if got, err := d.try(http.MethodPost, "/sync/push", body); err == nil {
		t.Fatalf("answered: %s", got.body)
	}
	f.client = &http.Client{}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.post(t, "/sync/push", body).is(t, http.StatusOK, "")
}
