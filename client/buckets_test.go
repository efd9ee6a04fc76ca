package client

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Buckets come and go with the user's access; a row that lies in another one stays.
func TestBucketsComeAndGo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.notice VALUES (1, '{red}', 'r'), (2, '{blue}', 'b'), (3, '{red,blue}', 'rb'); INSERT INTO app.member VALUES ('7', 'red')`)
	s.seal(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'mine')`)
	const notices = `SELECT id, body, teams FROM notice ORDER BY id`
	synced(t, a)
	is(t, rows(t, a, notices), "1|r|[\"red\"]\n3|rb|[\"red\",\"blue\"]")
	s.exec(t, `INSERT INTO app.member VALUES ('7', 'blue'); UPDATE app.notice SET body = 'changed' WHERE id = 3`)
	s.seal(t)
	synced(t, a)
	is(t, rows(t, a, notices), "1|r|[\"red\"]\n2|b|[\"blue\"]\n3|changed|[\"red\",\"blue\"]")
	s.exec(t, `DELETE FROM app.member WHERE team = 'red'`)
	s.seal(t)
	synced(t, a)
	is(t, rows(t, a, notices), "2|b|[\"blue\"]\n3|changed|[\"red\",\"blue\"]")
	s.exec(t, `UPDATE app.notice SET teams = '{red}' WHERE id = 3; UPDATE app.notice SET teams = '{blue}' WHERE id = 1`)
	s.seal(t)
	synced(t, a)
	is(t, rows(t, a, notices), "1|r|[\"blue\"]\n2|b|[\"blue\"]")
	is(t, rows(t, a, `SELECT count(*) FROM _tide_row`), "3")
	is(t, rows(t, a, `SELECT title FROM list`), "mine")
}

// A row that this database does not take waits in the inbox, and is applied once it fits. The pull goes on.
func TestRowThatDoesNotFit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title, rank) VALUES ('a', '7', 'first', 3)`)
	s.seal(t)
	path := t.TempDir() + "/device.db"
	own := s.open(t, t.TempDir()+"/other.db", s.config("7")) // the application's own table has a rule more
	create := strings.TrimSuffix(rows(t, own, `SELECT sql FROM sqlite_schema WHERE name = 'list'`), ")") + ", CHECK (rank < 10))"
	raw, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Exec(create); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	a := s.open(t, path, s.config("7"))
	synced(t, a)
	s.exec(t, `UPDATE app.list SET rank = 11 WHERE id = 'a'; INSERT INTO app.list (id, owner_id, title, rank) VALUES ('b', '7', 'second', 12), ('c', '7', 'third', 4);
		INSERT INTO app.item (id, list_id, owner_id) VALUES (1, 'b', '7'), (2, 'c', '7')`)
	s.seal(t)
	synced(t, a)
	is(t, rows(t, a, `SELECT id, rank FROM list ORDER BY id`), "a|3\nc|4")
	is(t, rows(t, a, `SELECT id FROM item`), "2")
	inbox, err := a.Inbox(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var waiting []string
	for _, in := range inbox {
		waiting = append(waiting, in.Table+" "+in.Key)
	}
	if !slices.Equal(waiting, []string{"list a", "list b", "item 1"}) {
		t.Fatalf("in the inbox: %q", waiting)
	}
	// Removed at the server, or as it should be at last.
	s.exec(t, `UPDATE app.list SET rank = 9 WHERE id = 'b'; DELETE FROM app.list WHERE id = 'a'`)
	s.seal(t)
	synced(t, a)
	is(t, rows(t, a, `SELECT l.id, l.rank, i.id FROM list AS l JOIN item AS i ON i.list_id = l.id ORDER BY l.id`), "b|9|1\nc|4|2")
	if inbox, err = a.Inbox(context.Background()); err != nil || len(inbox) > 0 {
		t.Fatalf("in the inbox: %v %v", inbox, err)
	}
}

// Rows that swap a unique value, and parents that come after their children, are applied all the same.
func TestRowsThatNeedEachOther(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `CREATE UNIQUE INDEX one_slug ON list (slug)`)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title, slug) VALUES ('a', '7', 'A', '1'), ('b', '7', 'B', '2'), ('c', '7', 'C', '3')`)
	s.exec(t, `INSERT INTO app.item (id, owner_id, list_id) VALUES (1, '7', 'a')`)
	s.seal(t)
	synced(t, a)
	heard := a.Changes()
	defer heard.Close()
	s.exec(t, `BEGIN; UPDATE app.list SET slug = NULL; UPDATE app.list SET slug = CASE id WHEN 'a' THEN '2' WHEN 'b' THEN '3' ELSE '1' END; COMMIT`)
	s.exec(t, `BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO app.item (id, owner_id, list_id) VALUES (2, '7', 'z'); INSERT INTO app.list (id, owner_id, title) VALUES ('z', '7', 'Z'); DELETE FROM app.list WHERE id = 'a'; COMMIT`)
	s.seal(t)
	synced(t, a)
	is(t, rows(t, a, `SELECT id, slug FROM list ORDER BY id`), "b|3\nc|1\nz|-")
	is(t, rows(t, a, `SELECT id, list_id FROM item`), "2|z")
	is(t, rows(t, a, `SELECT count(*) FROM _tide_inbox`), "0")
	<-heard.C
	if got := heard.Take(); !slices.Equal(got, []string{"item", "list"}) {
		t.Fatalf("heard of %q", got)
	}
}

// A snapshot that is cut goes on where it was, in another process too, and one that the server forgot
// begins anew. Until it is whole the tables stay as they were.
func TestSnapshotThatIsCut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.member VALUES ('7', 'red'); INSERT INTO app.notice SELECT g, '{red}', 'n' FROM generate_series(1, 100) AS g`)
	s.seal(t)
	var chunks, left int
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/sync/snapshot-sessions/") {
				if left--; left < 0 {
					http.Error(w, "cut", http.StatusBadGateway)
					return
				}
				chunks++
			}
			next.ServeHTTP(w, r)
		})
	}
	config := s.config("7")
	config.MaxRowsPerChunk = 10
	path := t.TempDir() + "/device.db"
	a := s.open(t, path, config)
	left = 6
	if err := a.Sync(context.Background()); err == nil {
		t.Fatal("synced")
	}
	is(t, rows(t, a, `SELECT count(*) FROM notice`), "0")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a, left = s.open(t, path, config), 100
	synced(t, a)
	is(t, rows(t, a, `SELECT count(*) FROM notice`), "100")
	if chunks != 10 {
		t.Fatalf("%d chunks were fetched", chunks)
	}
	// A rebuild, whose session is lost half way.
	if err := a.Rebuild(context.Background()); err != nil {
		t.Fatal(err)
	}
	if left = 6; a.Sync(context.Background()) == nil {
		t.Fatal("synced")
	}
	s.exec(t, `DELETE FROM tide.snapshot_session`)
	s.exec(t, `DELETE FROM app.notice WHERE id > 50`)
	s.seal(t)
	left = 100
	synced(t, a)
	is(t, rows(t, a, `SELECT count(*), (SELECT count(*) FROM sqlite_schema WHERE name GLOB '_tide_stage_*'), (SELECT count(*) FROM _tide_row) FROM notice`), "50|0|50")
}
