package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// seeder is a device whose file has items from before there was a sync, in seven lists. They go in pushes of four.
func (s *site) seeder(t *testing.T, items int) *Client {
	t.Helper()
	path := t.TempDir() + "/device.db"
	file(t, path,
		`CREATE TABLE item (id INTEGER PRIMARY KEY, list_id TEXT, owner_id TEXT, body TEXT, big INTEGER, amount TEXT, ratio REAL, done INTEGER DEFAULT 0, data BLOB, extra TEXT, tags TEXT, at TEXT)`,
		`CREATE TABLE list (id TEXT PRIMARY KEY, owner_id TEXT, title TEXT NOT NULL, slug TEXT, rank INTEGER NOT NULL DEFAULT 0, seen TEXT)`,
		fmt.Sprintf(`WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < %d) INSERT INTO item (id, list_id) SELECT n, 'l' || (n %% 7) FROM n`, items),
		`WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 6) INSERT INTO list (id, title) SELECT 'l' || n, 'mine' FROM n`)
	config := s.config("7")
	config.MaxRowsPerSeed = 4
	return s.open(t, path, config)
}

// A device that comes with more rows than go in one push brings them in several, parents first, and then
// what was written since, each transaction whole.
func TestManyRowsBeforeTheFirstSync(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.seeder(t, 100)
	do(t, a, `INSERT INTO list (id, title) VALUES ('n1', 'new'), ('n2', 'new'), ('n3', 'new'), ('n4', 'new'), ('n5', 'new'), ('n6', 'new')`)
	synced(t, a)
	is(t, letters(t, a), "")
	is(t, s.there(t, `SELECT count(*) FROM app.item`), "100")
	is(t, s.there(t, `SELECT count(*) || ' bundles of ' || max(n) FROM (SELECT count(*) AS n FROM tide.changes WHERE payload ->> 'title' IS DISTINCT FROM 'new' GROUP BY bundle_id) AS b`), "27 bundles of 4")
	is(t, s.there(t, `SELECT count(*) FROM tide.changes WHERE payload ->> 'title' = 'new' GROUP BY bundle_id ORDER BY 1 DESC LIMIT 1`), "6")
}

// What was written since the last push and is more than the server takes in one bundle waits, and says
// why. It is never sent in part; what is written later goes.
func TestTooManyRowsForOneBundle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `UPDATE tide.setting SET max_rows_per_push = 5`)
	a := s.device(t, "7")
	synced(t, a)
	do(t, a, `INSERT INTO list (id, title) VALUES ('a', 'x'), ('b', 'x'), ('c', 'x'), ('d', 'x'), ('e', 'x'), ('f', 'x')`)
	synced(t, a)
	is(t, s.there(t, `SELECT count(*) FROM app.list`), "0")
	is(t, rows(t, a, `SELECT count(*), min(held ->> 'code'), min(held ->> 'detail') <> '' FROM _tide_dirty`), "6|bundle_limit_exceeded|1")
	do(t, a, `INSERT INTO list (id, title) VALUES ('g', 'x')`)
	synced(t, a)
	is(t, s.there(t, `SELECT id FROM app.list`), "g")
	s.exec(t, `UPDATE tide.setting SET max_rows_per_push = 100`)
	do(t, a, `UPDATE list SET rank = 1 WHERE id < 'g'`) // writing them again sends them
	synced(t, a)
	is(t, letters(t, a), "")
	is(t, s.there(t, `SELECT count(*) FROM app.list`), "7")
}

// The first device of a user seeds, a second one waits meanwhile and adopts then. The lease of the first
// ends before it has pushed, and the answer that gives it another is lost: it asks again.
func TestFirstDeviceSeeds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b := s.device(t, "7", func(c *Config) { c.MaxRowsPerRequest = 1 }), s.device(t, "7")
	first, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do(t, a, `INSERT INTO list (id, title) VALUES ('a', 'of the first'), ('c', 'too')`)
	do(t, b, `INSERT INTO list (id, title) VALUES ('b', 'of the second')`)
	var second error
	var pushed, lost atomic.Bool
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/sync/push-sessions" && pushed.CompareAndSwap(false, true):
				second = b.Sync(t.Context())
				do(t, a, `INSERT INTO list (id, title) VALUES ('d', 'written meanwhile')`)
				s.exec(t, `UPDATE tide.scope_lease SET expires_at = now() - interval '1 minute'`)
			case r.URL.Path == "/sync/connect" && pushed.Load() && r.Header.Get("Tide-Source-ID") == first.Source && lost.CompareAndSwap(false, true):
				next.ServeHTTP(httptest.NewRecorder(), r)
				http.Error(w, "lost", http.StatusBadGateway)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	if err := a.Sync(t.Context()); err == nil {
		t.Fatal("the answer was not lost")
	}
	if !errors.Is(second, ErrWait) {
		t.Fatalf("the second device did not wait: %v", second)
	}
	synced(t, a, b, a)
	for _, c := range []*Client{a, b} {
		is(t, rows(t, c, `SELECT group_concat(id) FROM (SELECT id FROM list ORDER BY id)`), "a,b,c,d")
		is(t, letters(t, c), "")
	}
}

// Somebody else begins the bucket while the first push of the device is on its way: rows of the server come before it
// goes again. What was edited on both sides is a conflict, and no edit goes without a record.
func TestRowsOfTheServerBeforeTheFirstPush(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct {
		resolver                Resolver
		server, resolution, set string
	}{
		"server wins": {nil, "a|theirs\nb|mine", "server wins", "theirs"},
		"local wins":  {LocalWins, "a|mine\nb|mine", "local wins", "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			a := s.device(t, "7", func(c *Config) {
				if of.resolver != nil {
					c.Resolvers = map[string]Resolver{"list": of.resolver}
				}
			})
			do(t, a, `INSERT INTO list (id, title) VALUES ('a', 'mine'), ('b', 'mine')`)
			var begun atomic.Bool
			s.around = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/sync/push" && begun.CompareAndSwap(false, true) {
						s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('a', '7', 'theirs')`)
						s.seal(t)
					}
					next.ServeHTTP(w, r)
				})
			}
			synced(t, a)
			is(t, letters(t, a), "")
			is(t, s.there(t, `SELECT concat_ws('|', id, title) FROM app.list ORDER BY id`), of.server)
			is(t, rows(t, a, `SELECT id, title FROM list ORDER BY id`), of.server)
			conflicts, err := a.Conflicts(t.Context(), 0)
			if err != nil || len(conflicts) != 1 || conflicts[0].Resolution != of.resolution || conflicts[0].Local["title"] != "mine" || conflicts[0].Server["title"] != "theirs" || conflicts[0].Result["title"] != of.set {
				t.Fatalf("%+v %v", conflicts, err)
			}
		})
	}
}

// A push of rows that were there before comes back, because the server has one of them: they still go before rows that
// need them.
func TestManyRowsOfWhichTheServerHasOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('l1', '7', 'theirs')`)
	s.seal(t)
	a := s.seeder(t, 30)
	if _, err := a.freeze(t.Context()); err != nil { // as a sync does that was cut before it met the server's rows
		t.Fatal(err)
	}
	synced(t, a)
	is(t, letters(t, a), "")
	is(t, s.there(t, `SELECT (SELECT count(*) FROM app.item) || ' ' || (SELECT count(*) FROM app.list)`), "30 7")
}
