package client

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The server goes back to an earlier state. Seals tell which buckets the device had further than that: they
// are repaired, the others stay as they are, and an edit that was not sent arrives.
func TestServerGoesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.member VALUES ('7', 'red'), ('7', 'blue'); INSERT INTO app.notice VALUES (1, '{red}', 'r'), (2, '{blue}', 'b')`)
	s.seal(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one'), ('m', 'two')`)
	synced(t, a)
	before := s.earlier(t)
	s.exec(t, `UPDATE app.notice SET body = 'lost' WHERE id = 1`)
	s.seal(t)
	do(t, a, `UPDATE list SET title = 'lost' WHERE id = 'm'`)
	do(t, a, `INSERT INTO list (id, title) VALUES ('n', 'lost')`)
	synced(t, a)
	do(t, a, `UPDATE list SET title = 'offline' WHERE id = 'l'`)

	before.exec(t, `UPDATE app.notice SET body = body || '2'`)
	before.seal(t)
	var asked []byte
	s.around = func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/snapshot-sessions") {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				asked = append(asked, body...)
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			before.handler.ServeHTTP(w, r)
		})
	}
	synced(t, a)
	if !bytes.Contains(asked, []byte(`"team:red"`)) || bytes.Contains(asked, []byte(`"team:blue"`)) {
		t.Fatalf("fetched: %s", asked)
	}
	is(t, rows(t, a, `SELECT id, title FROM list ORDER BY id`), "l|offline\nm|two")
	is(t, rows(t, a, `SELECT id, body FROM notice ORDER BY id`), "1|r2\n2|b2")
	is(t, before.there(t, `SELECT concat_ws('|', id, title) FROM app.list`), "l|offline\nm|two")
	v, err := a.Verify(t.Context())
	if err != nil || len(v.Repaired) > 0 {
		t.Fatal(v, err)
	}
}

// What waits in the inbox goes with the history that it is of, and what had come to it before stays.
func TestServerGoesBackBehindRowsThatWait(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('theirs', '8', 'x')`)
	s.exec(t, `INSERT INTO app.item (id, owner_id, list_id) VALUES (1, '7', 'theirs')`) // its parent is not this user's
	s.seal(t)
	a := s.device(t, "7")
	synced(t, a)
	before := s.earlier(t)
	s.exec(t, `INSERT INTO app.item (id, owner_id, list_id) VALUES (2, '7', 'theirs')`)
	s.seal(t)
	synced(t, a)
	is(t, rows(t, a, `SELECT payload ->> 'id' FROM _tide_inbox ORDER BY 1`), "1\n2")
	s.around = func(http.Handler) http.Handler { return before.handler }
	synced(t, a)
	is(t, rows(t, a, `SELECT payload ->> 'id' FROM _tide_inbox ORDER BY 1`), "1")
}

// The server goes back to before a push that was answered, and of which no pull has told yet: the bundles say
// nothing of it, the seal of the push does. Its rows go, and those it changed or deleted are again as they were.
func TestServerGoesBackBehindAPush(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]int{"at once": 500, "in chunks": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			a := s.device(t, "7", func(c *Config) { c.MaxRowsPerRequest = most })
			do(t, a, `INSERT INTO list (id, title) VALUES ('gone', 'x'), ('l', 'one'), ('m', 'two')`)
			synced(t, a)
			before := s.earlier(t)
			a.SetMode(PushOnly)
			do(t, a, `UPDATE list SET title = 'lost' WHERE id = 'm'`)
			do(t, a, `DELETE FROM list WHERE id = 'gone'`)
			do(t, a, `INSERT INTO list (id, title) VALUES ('n', 'lost')`)
			synced(t, a)
			do(t, a, `INSERT INTO list (id, title) VALUES ('o', 'lost too')`)
			synced(t, a)
			do(t, a, `UPDATE list SET title = 'offline' WHERE id = 'l'`)
			a.SetMode(Both)
			s.around = func(http.Handler) http.Handler { return before.handler }
			for range 2 { // the second finds nothing left to do
				synced(t, a)
				is(t, rows(t, a, `SELECT id, title FROM list ORDER BY id`), "gone|x\nl|offline\nm|two")
			}
			is(t, before.there(t, `SELECT concat_ws('|', id, title) FROM app.list`), "gone|x\nl|offline\nm|two")
			v, err := a.Verify(t.Context())
			if err != nil || len(v.Repaired) > 0 {
				t.Fatal(v, err)
			}
		})
	}
}

// A push that was answered is one of this history: a pull that goes beyond it forgets it, and nothing is fetched for it.
func TestPushIsOfThisHistory(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7", func(c *Config) { c.MaxBundlesPerPage = 1 })
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one')`)
	synced(t, a)
	a.SetMode(PushOnly)
	do(t, a, `UPDATE list SET title = 'two'`)
	synced(t, a)
	for range 3 {
		s.exec(t, `UPDATE app.list SET rank = rank + 1`)
		s.seal(t)
	}
	// The server forgets which buckets the device has.
	s.exec(t, `DELETE FROM tide.source_buckets`)
	var asked []string
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Method+" "+r.URL.Path+" "+strconv.FormatBool(r.URL.Query().Has("pushed")))
			next.ServeHTTP(w, r)
		})
	}
	a.SetMode(Both)
	synced(t, a)
	synced(t, a)
	is(t, strings.Join(slices.DeleteFunc(asked, func(r string) bool { return strings.Contains(r, "/schema") }), "\n"), `GET /sync/pull true
POST /sync/connect false
GET /sync/pull true
GET /sync/pull true
GET /sync/pull true
GET /sync/pull true
GET /sync/pull false`)
	is(t, rows(t, a, `SELECT id, title, rank FROM list`), "l|two|3")
}

// A dump was restored elsewhere, and pgtide begins a new history there: versions and seals start again from
// one. The device takes what is there, its old versions notwithstanding, and an edit that was not sent arrives.
func TestNewHistory(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one'), ('m', 'two'), ('gone', 'x')`)
	synced(t, a)
	for range 3 {
		s.exec(t, `UPDATE app.list SET rank = rank + 1`)
		s.seal(t)
	}
	synced(t, a)
	do(t, a, `UPDATE list SET title = 'offline' WHERE id = 'l'`)
	do(t, a, `INSERT INTO item (id, list_id) VALUES (1, 'm')`)

	anew := newSite(t)
	anew.exec(t, `INSERT INTO app.list (id, owner_id, title, rank) VALUES ('l', '7', 'one', 3), ('m', '7', 'changed', 3), ('n', '7', 'new', 3)`)
	anew.seal(t)
	s.around = func(http.Handler) http.Handler { return anew.handler }
	synced(t, a)
	is(t, rows(t, a, `SELECT id, title, rank FROM list ORDER BY id`), "l|offline|3\nm|changed|3\nn|new|3")
	is(t, anew.there(t, `SELECT concat_ws('|', id, title, rank) FROM app.list`), "l|offline|3\nm|changed|3\nn|new|3")
	is(t, anew.there(t, `SELECT concat_ws('|', id, list_id) FROM app.item`), "1|m")
	anew.exec(t, `UPDATE app.list SET rank = 21`)
	anew.seal(t)
	synced(t, a)
	is(t, rows(t, a, `SELECT DISTINCT rank FROM list`), "21")
	v, err := a.Verify(t.Context())
	if err != nil || len(v.Repaired) > 0 {
		t.Fatal(v, err)
	}
}
