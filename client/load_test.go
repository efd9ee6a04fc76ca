package client

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// The first snapshot is loaded at once. Where a row does not fit, or has no parent here, that row waits and
// the others are there, as they are when each is applied alone; and what is written then is captured.
func TestFirstSnapshotIsLoaded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('a', '7', 'one'), ('b', '7', 'two'), ('x', '8', 'not his')`)
	s.exec(t, `INSERT INTO app.item (id, list_id, owner_id, data) VALUES (1, 'a', '7', ''), (2, 'x', '7', '\x00'), (3, NULL, '7', NULL)`)
	s.seal(t)
	for _, check := range []string{"", " CHECK (title <> 'two')"} {
		path := t.TempDir() + "/device.db"
		file(t, path, `CREATE TABLE list (id TEXT PRIMARY KEY, owner_id TEXT, title TEXT NOT NULL`+check+`, slug TEXT, rank INTEGER NOT NULL DEFAULT 0, seen TEXT)`)
		c := s.open(t, path, s.config("7"))
		synced(t, c)
		lists, waits := "a|b", "item 2"
		if check != "" {
			lists, waits = "a", "item 2, list b"
		}
		is(t, rows(t, c, `SELECT group_concat(id, '|') FROM list`), lists)
		is(t, rows(t, c, `SELECT id, typeof(data) FROM item ORDER BY id`), "1|blob\n3|null")
		is(t, rows(t, c, `SELECT group_concat(t.local || ' ' || key, ', ') FROM (SELECT * FROM _tide_inbox ORDER BY tab DESC) JOIN _tide_table AS t USING (tab)`), waits)
		do(t, c, `UPDATE list SET rank = 5 WHERE id = 'a'`)
		status, err := c.Status(context.Background())
		if err != nil || status.Pending != 1 {
			t.Fatalf("%d rows wait to be pushed, %v", status.Pending, err)
		}
	}
}

// Large chunks are fetched ahead: a cut loses the one that was on its way, and no other.
func TestChunksAhead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.member VALUES ('7', 'red'); INSERT INTO app.notice SELECT g, '{red}', 'n' || g FROM generate_series(1, 2500) AS g`)
	s.seal(t)
	var served, left atomic.Int64
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/sync/snapshot-sessions/") {
				if left.Add(-1) < 0 {
					http.Error(w, "cut", http.StatusBadGateway)
					return
				}
				served.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	}
	a := s.device(t, "7", func(c *Config) { c.MaxRowsPerChunk = 1000 })
	left.Store(1)
	if a.Sync(t.Context()) == nil {
		t.Fatal("synced")
	}
	is(t, rows(t, a, `SELECT next, (SELECT count(*) FROM notice) FROM _tide_snapshot`), "1000|0")
	left.Store(100)
	synced(t, a)
	is(t, rows(t, a, `SELECT count(*), count(DISTINCT body), min(id), max(id) FROM notice`), "2500|2500|1|2500")
	if served.Load() != 3 {
		t.Fatalf("%d chunks were fetched", served.Load())
	}
}
