package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// copyOf is the file as it is now.
func (s *site) copyOf(t testing.TB, c *Client) string {
	t.Helper()
	path := t.TempDir() + "/copy.db"
	do(t, c, `VACUUM INTO '`+path+`'`)
	return path
}

// An old copy of the file comes back: its pushes do not pass for those that were made since, and what was
// written in it is not lost.
func TestOldCopyComesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one')`)
	synced(t, a)
	do(t, a, `INSERT INTO list (id, title) VALUES ('m', 'in the copy, not sent yet')`)
	path := s.copyOf(t, a)
	synced(t, a)
	do(t, a, `UPDATE list SET title = 'two' WHERE id = 'l'`)
	synced(t, a)

	old := s.open(t, path, s.config("7"))
	do(t, old, `INSERT INTO list (id, title) VALUES ('n', 'in the copy alone')`)
	synced(t, old, a)
	const all = `SELECT id, title FROM list ORDER BY id`
	is(t, rows(t, old, all), "l|two\nm|in the copy, not sent yet\nn|in the copy alone")
	is(t, rows(t, a, all), rows(t, old, all))
	// Both go on, also when they push at the same time under what was one source.
	do(t, a, `UPDATE list SET title = 'of a' WHERE id = 'l'`)
	do(t, old, `UPDATE list SET title = 'of the copy' WHERE id = 'm'`)
	synced(t, a, old, a)
	is(t, rows(t, a, all), "l|of a\nm|of the copy\nn|in the copy alone")
	is(t, rows(t, old, all), rows(t, a, all))
}

// Copies of one file push different rows under the same number, and no pull is between.
func TestTwinsPush(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one')`)
	synced(t, a)
	config := s.config("7")
	config.MaxRowsPerRequest = 1 // in chunks as well
	twin, third := s.open(t, s.copyOf(t, a), config), s.open(t, s.copyOf(t, a), s.config("7"))
	do(t, twin, `INSERT INTO list (id, title) VALUES ('twin', 't'), ('twin2', 't')`)
	do(t, third, `INSERT INTO list (id, title) VALUES ('third', 't')`)
	do(t, a, `INSERT INTO list (id, title) VALUES ('a', 'a')`)
	for _, c := range []*Client{a, twin, third} {
		c.SetMode(PushOnly)
		synced(t, c)
	}
	for _, c := range []*Client{a, twin, third} {
		c.SetMode(Both)
	}
	synced(t, twin, third, a, twin)
	for _, c := range []*Client{a, twin, third} {
		is(t, rows(t, c, `SELECT id FROM list ORDER BY id`), "a\nl\nthird\ntwin\ntwin2")
	}
}

// Copies of one file write the same row, and push it under the same number with no pull between: one push is not
// taken for the other, in one request or in several, and whether its answer came or not.
func TestTwinsPushTheSameRow(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]int{"at once": 500, "in chunks": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			config := s.config("7")
			config.MaxRowsPerRequest = most
			a := s.open(t, t.TempDir()+"/device.db", config)
			do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one')`)
			synced(t, a)
			twin := s.open(t, s.copyOf(t, a), config)
			for _, c := range []*Client{a, twin} {
				c.SetMode(PushOnly)
			}
			do(t, a, `UPDATE list SET title = 'of a'`)
			do(t, a, `INSERT INTO list (id, title) VALUES ('m', 'of a')`)
			synced(t, a)
			do(t, twin, `UPDATE list SET title = 'of the twin', rank = 7`)
			do(t, twin, `INSERT INTO list (id, title) VALUES ('n', 'of the twin')`)
			// The twin sends a push of the same number, without its answer: it must ask again.
			lost := false
			s.around = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !lost && r.URL.Path == "/sync/push" || strings.HasSuffix(r.URL.Path, "/commit") {
						lost = true
						next.ServeHTTP(nothing{}, r)
						panic(http.ErrAbortHandler)
					}
					next.ServeHTTP(w, r)
				})
			}
			_ = twin.Sync(t.Context()) // its answer is cut, or it is refused: what counts is how it ends below
			s.around = nil
			twin.SetMode(Both)
			a.SetMode(Both)
			synced(t, twin, a, twin)
			is(t, s.there(t, `SELECT format('%s %s %s', id, title, rank) FROM app.list`), "l of a 0\nm of a 0\nn of the twin 0")
			for _, c := range []*Client{a, twin} {
				is(t, rows(t, c, `SELECT id, title, rank FROM list ORDER BY id`), "l|of a|0\nm|of a|0\nn|of the twin|0")
			}
			is(t, rows(t, twin, `SELECT key, resolution FROM _tide_conflict`), "l|server wins")
			if was, err := a.Status(t.Context()); err != nil || was.Conflicts > 0 {
				t.Errorf("the one whose push arrived: %+v %v", was, err)
			}
		})
	}
}

// The server retires the source, and loses the list of its buckets: edits that were not sent survive.
func TestSourceIsReplaced(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one')`)
	synced(t, a)
	before, err := a.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	do(t, a, `UPDATE list SET title = 'offline'`)
	s.exec(t, `SELECT tide.replace_source('7', '`+before.Source+`', 'another', 'history_pruned')`)
	synced(t, a)
	after, err := a.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if after.Source == before.Source || after.Pending != 0 || strings.Join(after.Buckets, " ") != "user:7" {
		t.Fatalf("before %+v, after %+v", before, after)
	}
	is(t, s.there(t, `SELECT title FROM app.list`), "offline")
}

// One user's rows leave before another's come, and not while they wait to be sent.
func TestChangeOfUser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('8', '8', 'of 8')`)
	s.seal(t)
	a := s.device(t, "7")
	path := s.path(t, a)
	do(t, a, `INSERT INTO list (id, title) VALUES ('7', 'of 7')`)
	if _, err := Open(context.Background(), path, s.config("8")); !errors.Is(err, ErrOtherUser) {
		t.Fatalf("opened for another user: %v", err)
	}
	if err := a.Detach(context.Background(), false); !errors.Is(err, ErrPending) {
		t.Fatalf("detached with changes: %v", err)
	}
	synced(t, a)
	if err := a.Detach(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	is(t, rows(t, a, `SELECT * FROM list`), "")
	// Whoever has it open still, as the first user, brings nothing of his into it.
	left := func() {
		t.Helper()
		if err := a.Sync(t.Context()); !errors.Is(err, ErrOtherUser) {
			t.Fatalf("synced after it was detached: %v", err)
		}
		if err := a.Run(t.Context()); !errors.Is(err, ErrOtherUser) {
			t.Fatalf("Run goes on after it was detached: %v", err)
		}
		is(t, rows(t, a, `SELECT count(*) FROM list WHERE id = '7' UNION ALL SELECT count(*) FROM _tide_bucket WHERE name = 'user:7'`), "0\n0")
	}
	left()
	b := s.open(t, path, s.config("8"))
	left()
	synced(t, b)
	left()
	is(t, rows(t, b, `SELECT id, title FROM list`), "8|of 8")
	is(t, s.there(t, `SELECT id FROM app.list`), "7\n8")
}

// What was damaged here is fetched anew in one go, and local changes stay on top.
func TestRebuild(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('k', 'zero'), ('l', 'one'), ('m', 'two')`)
	do(t, a, `INSERT INTO item (id, list_id) VALUES (1, 'm')`)
	synced(t, a)
	do(t, a, `PRAGMA foreign_keys = OFF; UPDATE _tide_state SET applying = 1; DELETE FROM list WHERE id = 'm'; UPDATE list SET title = 'rotten' WHERE id = 'l'; UPDATE _tide_state SET applying = 0`)
	do(t, a, `INSERT INTO list (id, title) VALUES ('n', 'not sent')`)
	synced(t, a)
	is(t, rows(t, a, `SELECT title FROM list ORDER BY id`), "zero\nrotten\nnot sent")
	do(t, a, `UPDATE list SET rank = 5 WHERE id = 'k'`)
	if err := a.Rebuild(context.Background()); err != nil {
		t.Fatal(err)
	}
	synced(t, a)
	is(t, rows(t, a, `SELECT title, rank FROM list ORDER BY id`), "zero|5\none|0\ntwo|0\nnot sent|0")
}

// What the server refused waits on, whatever is fetched anew, and can be mended then.
func TestRefusedRowsSurviveRebuilds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one'), ('m', 'two')`)
	synced(t, a)
	do(t, a, `UPDATE list SET title = 'bad', rank = 3 WHERE id = 'l'`)
	do(t, a, `INSERT INTO list (id, title) VALUES ('n', 'bad')`)
	do(t, a, `INSERT INTO item (id, list_id) VALUES (1, 'n')`)
	wait := func(after string) {
		t.Helper()
		synced(t, a)
		if got := letters(t, a) + rows(t, a, `SELECT group_concat(id || title || rank) FROM (SELECT * FROM list ORDER BY id)`) + rows(t, a, `SELECT id || list_id FROM item`); got != "list l 23514 list_title_check;list n 23514 list_title_check;lbad3,mtwo0,nbad01n" {
			t.Fatalf("after %s: %s", after, got)
		}
	}
	wait("the push")
	if err := a.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait("a rebuild")
	do(t, a, `UPDATE _tide_state SET source_id = 'another', next_bundle = 1, cursor = '', connected = 0`)
	wait("a source that begins anew")
	a = s.open(t, s.copyOf(t, a), s.config("7"))
	wait("a copy of the file")
	do(t, a, `UPDATE list SET title = 'fine' WHERE title = 'bad'`)
	synced(t, a)
	is(t, s.there(t, `SELECT concat_ws('|', l.id, title, rank, i.id) FROM app.list AS l LEFT JOIN app.item AS i ON i.list_id = l.id`), "l|fine|3\nm|two|0\nn|fine|0|1")
}

// A bucket is rebuilt beside the application: who reads meanwhile sees all of its rows as they were, or all
// as they are then. Edits that were not sent stay, and so do other buckets, damaged as they are.
func TestRebuildOfOneBucket(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.member VALUES ('7', 'red'); INSERT INTO app.notice VALUES (1, '{red}', 'r'); INSERT INTO app.list (id, owner_id, title) SELECT 'l' || g, '7', 'fine' FROM generate_series(1, 50) AS g`)
	s.seal(t)
	a := s.device(t, "7", func(c *Config) { c.MaxRowsPerChunk = 5 })
	synced(t, a)
	do(t, a, `UPDATE _tide_state SET applying = 1; UPDATE list SET title = 'rotten' WHERE id LIKE 'l1%'; UPDATE notice SET body = 'rotten'; UPDATE _tide_state SET applying = 0`)
	do(t, a, `CREATE TABLE wrote (id); CREATE TRIGGER wrote AFTER UPDATE ON list BEGIN INSERT INTO wrote VALUES (NEW.id); END`)
	do(t, a, `UPDATE list SET rank = 7 WHERE id = 'l3'; DELETE FROM list WHERE id = 'l4'`)
	if err := a.Rebuild(t.Context(), "team:blue"); err == nil {
		t.Fatal("a bucket is rebuilt that is not here")
	}
	if err := a.Rebuild(t.Context(), "user:7"); err != nil {
		t.Fatal(err)
	}
	// A connect comes between, as after any loss of the server's memory.
	do(t, a, `UPDATE _tide_state SET connected = 0`)
	seen := map[string]bool{}
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen[rows(t, a, `SELECT title, count(*) FROM list GROUP BY title`)] = true
			next.ServeHTTP(w, r)
		})
	}
	a.SetMode(PullOnly)
	synced(t, a)
	if len(seen) != 2 || !seen["fine|38\nrotten|11"] || !seen["fine|49"] {
		t.Fatalf("seen meanwhile: %v", seen)
	}
	is(t, rows(t, a, `SELECT title, count(*), max(rank) FROM list GROUP BY title`), "fine|49|7")
	is(t, rows(t, a, `SELECT body FROM notice`), "rotten")
	is(t, rows(t, a, `SELECT count(DISTINCT id) FROM wrote`), "12") // the others are left alone
	a.SetMode(Both)
	synced(t, a)
	is(t, s.there(t, `SELECT concat_ws('|', title, count(*), max(rank)) FROM app.list GROUP BY title`), "fine|49|7")
}

// Tables that the application made and filled before it ever synced are adopted; one that cannot be is
// refused with all that is wrong.
func TestAdoption(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path := t.TempDir() + "/app.db"
	make := func(statement string) {
		t.Helper()
		db, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close() //nolint:errcheck // The next one would complain.
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	make(`CREATE TABLE list (id TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, owner_id TEXT, title STRING, slug TEXT UNIQUE, colour TEXT NOT NULL); INSERT INTO list VALUES ('l', NULL, 'mine', NULL, 'red')`)
	_, err := Open(context.Background(), path, s.config("7"))
	for _, problem := range []string{"lacks the column rank", "lacks the column seen", "column colour of table list is not synced",
		"column title of table list is declared STRING, by which SQLite would change values of the server (text): declare it TEXT", "key column id of table list has a collation"} {
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Fatalf("opened with %v, which does not say %q", err, problem)
		}
	}
	make(`DROP TABLE list; CREATE TABLE list (id TEXT PRIMARY KEY NOT NULL, owner_id TEXT, title TEXT, slug TEXT UNIQUE, rank INT, seen TEXT, colour TEXT); INSERT INTO list VALUES ('l', NULL, 'mine', NULL, 3, NULL, 'red');
		CREATE TABLE item (id INTEGER PRIMARY KEY, list_id VARCHAR(20), owner_id TEXT, body TEXT, big BIGINT, amount TEXT, ratio DOUBLE, done BOOLEAN, data BLOB, extra TEXT, tags TEXT, at DATETIME);
		INSERT INTO item (id, list_id, done, at) VALUES (1, 'l', true, '2025-01-02T03:04:05+00:00')`)
	a := s.open(t, path, s.config("7"))
	synced(t, a)
	b := s.device(t, "7")
	synced(t, b)
	is(t, rows(t, b, `SELECT id, title, rank FROM list`), "l|mine|3")
	is(t, rows(t, a, `SELECT owner_id, seen, colour FROM list`), "7|yes|red")
	// A column for which the driver has a type of its own.
	do(t, a, `UPDATE item SET at = '2026-01-02T03:04:05+00:00', body = 'mine' WHERE id = 1`)
	s.exec(t, `UPDATE app.item SET body = 'theirs', at = '2027-01-02T03:04:05Z' WHERE id = 1`)
	synced(t, a)
	is(t, rows(t, a, `SELECT +at, body FROM item`), "2027-01-02T03:04:05+00:00|theirs")
	do(t, a, `UPDATE item SET at = '2026-01-02T03:04:05+00:00' WHERE id = 1`)
	synced(t, a)
	is(t, s.there(t, `SELECT at AT TIME ZONE 'UTC' FROM app.item`), "2026-01-02 03:04:05")
	s.exec(t, `DELETE FROM app.item`)
	s.seal(t)
	synced(t, a)
	is(t, rows(t, a, `SELECT count(*) FROM item`), "0")
	// Once, whoever opens the file.
	a = s.open(t, path, s.config("7"))
	is(t, rows(t, a, `SELECT count(*) FROM _tide_dirty`), "0")
	synced(t, a)
	is(t, s.there(t, `SELECT count(*) FROM tide.changes WHERE op = 'INSERT'`), "2")
}

// A declared type is refused where SQLite does not give back what it got.
func TestDeclaredTypes(t *testing.T) {
	t.Parallel()
	db := file(t, t.TempDir()+"/types.db")
	samples := map[string][]any{
		"integer": {int64(1) << 62, int64(7)}, "boolean": {int64(1)}, "float": {2.0, 0.1, "NaN"}, "decimal": {"12.50", "1"}, "text": {"0012", "a"}, "json": {"1.0", "{}"}, "bytes": {[]byte("7")},
		"uuid": {"11111111-1111-1111-1111-111111111111"}, "timestamptz": {"2026-01-02T03:04:05+00:00"}, "date": {"2026-01-02"},
	}
	for n, declared := range []string{"", "INTEGER", "bigint", "TEXT", "varchar(20)", "CLOB", "BLOB", "REAL", "DOUBLE PRECISION", "FLOAT", "NUMERIC", "DECIMAL(10,2)", "BOOLEAN", "DATETIME", "UUID", "STRING", "JSON"} {
		table := fmt.Sprintf("t%d", n)
		if _, err := db.Exec(`CREATE TABLE ` + table + ` (c ` + declared + `)`); err != nil {
			t.Fatal(err)
		}
		for kind, values := range samples {
			kept := true
			for _, value := range values {
				var found any
				if _, err := db.Exec(`DELETE FROM `+table+`; INSERT INTO `+table+` VALUES (?)`, value); err != nil {
					t.Fatal(err)
				}
				if err := db.QueryRow(`SELECT +c FROM ` + table).Scan(&found); err != nil {
					t.Fatal(err)
				}
				kept = kept && same(found, value)
			}
			if keeps(declared, kind) != kept {
				t.Errorf("%q for %s: kept is %v, and the misfits say %v", declared, kind, kept, keeps(declared, kind))
			}
		}
	}
}
