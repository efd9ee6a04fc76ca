package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// during calls f once, while a push is under way: before the server sees it, or after it has answered.
func (s *site) during(before, after func()) {
	once := false
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if once || r.URL.Path != "/sync/push" {
				next.ServeHTTP(w, r)
				return
			}
			once = true
			before()
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			after()
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes()) // the device is there
		})
	}
}

// A row is written again while it is being pushed, and the push conflicts: both edits are merged.
func TestWrittenWhileItIsPushed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7", func(c *Config) { c.Resolvers = map[string]Resolver{"list": MergeColumns} })
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'was')`)
	synced(t, a)
	do(t, a, `UPDATE list SET title = 'first edit'`)
	s.during(func() {
		do(t, a, `UPDATE list SET rank = 2`)
		s.exec(t, `UPDATE app.list SET slug = 'theirs'`)
	}, func() {})
	synced(t, a)
	is(t, rows(t, a, `SELECT title, rank, slug FROM list`), "first edit|2|theirs")
	is(t, s.there(t, `SELECT concat_ws('|', title, rank, slug) FROM app.list`), "first edit|2|theirs")
}

// Another process settles a push and makes the next one before this one has its answer: the answer is not
// taken for that of the next.
func TestAnswerOfThePushBefore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('first', 'x')`)
	synced(t, a)
	other := s.open(t, s.path(t, a), s.config("7"))
	do(t, a, `INSERT INTO list (id, title) VALUES ('second', 'x')`)
	s.during(func() {}, func() {
		if _, err := other.send(context.Background()); err != nil {
			t.Error(err)
		}
		do(t, other, `INSERT INTO list (id, title) VALUES ('third', 'x')`)
		if more, err := other.freeze(context.Background()); err != nil || !more {
			t.Error(more, err)
		}
	})
	if more, err := a.freeze(context.Background()); err != nil || !more {
		t.Fatal(more, err)
	}
	if _, err := a.send(context.Background()); err != nil {
		t.Fatal(err)
	}
	is(t, rows(t, a, `SELECT count(*) FROM _tide_outbox`), "1")
	synced(t, a)
	is(t, s.there(t, `SELECT id FROM app.list`), "first\nsecond\nthird")
}

// The application writes while pulls are applied, to the very rows that come. Each write is of another
// column than the server's: none may be missing in the end, on either side.
func TestWrittenWhileItIsPulled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) SELECT 'l' || g, '7', 'x' FROM generate_series(1, 20) AS g`)
	s.seal(t)
	a := s.device(t, "7", func(c *Config) {
		c.MaxBundlesPerPage = 2
		c.Resolvers = map[string]Resolver{"list": MergeColumns}
	})
	synced(t, a)
	const writes = 25
	written := make(chan error, 1)
	go func() {
		for range writes {
			if _, err := a.DB().Exec(`UPDATE list SET rank = rank + 1`); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for n, busy := 0, true; busy; n++ {
		s.exec(t, fmt.Sprintf(`UPDATE app.list SET title = 'n%d'; UPDATE app.list SET slug = id || '-%[1]d'`, n))
		s.seal(t)
		if err := a.Sync(t.Context()); err != nil && !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
		select {
		case err := <-written:
			if busy = false; err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	synced(t, a)
	is(t, rows(t, a, `SELECT min(rank), max(rank), count(DISTINCT title) FROM list`), fmt.Sprintf("%d|%[1]d|1", writes))
	is(t, s.there(t, `SELECT concat_ws('|', id, title, slug, rank) FROM app.list`), rows(t, a, `SELECT id, title, slug, rank FROM list ORDER BY id || '|'`))
}

// What one process pulled does not take the place of an edit that the other is pushing meanwhile: until the outcome of
// the push is known nobody can say what the row of the server means for it.
func TestPulledWhileAnotherProcessPushes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('l', '7', 'before')`)
	s.seal(t)
	a := s.device(t, "7")
	synced(t, a)
	b := s.open(t, s.path(t, a), s.config("7"))
	pulling, pull, pulled := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var first, pushed atomic.Bool
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/sync/pull" && first.CompareAndSwap(false, true): // of b
				close(pulling)
				<-pull
			case r.URL.Path == "/sync/push" && pushed.CompareAndSwap(false, true):
				s.exec(t, `UPDATE app.list SET title = 'theirs'`)
				s.seal(t)
				close(pull)
				if err := <-pulled; err != nil {
					t.Error(err)
				}
			}
			next.ServeHTTP(w, r)
		})
	}
	go func() { pulled <- b.Sync(t.Context()) }()
	<-pulling
	do(t, a, `UPDATE list SET title = 'mine'`)
	synced(t, a)
	is(t, letters(t, a), "")
	conflicts, err := a.Conflicts(t.Context(), 0)
	if err != nil || len(conflicts) != 1 || conflicts[0].Local["title"] != "mine" || conflicts[0].Server["title"] != "theirs" {
		t.Fatalf("%+v %v", conflicts, err)
	}
	is(t, rows(t, a, `SELECT title FROM list`), "theirs")
}
