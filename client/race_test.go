package client

import (
	"context"
	"net/http"
	"net/http/httptest"
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
