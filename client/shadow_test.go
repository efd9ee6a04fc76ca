package client

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A first snapshot fills a shadow beside each table, and whatever the application does meanwhile, or has made
// beside its table, is as if the rows had been written one by one.
func TestShadow(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) SELECT 'l' || g, '7', 'title ' || g % 8 FROM generate_series(1, 9) AS g`)
	s.exec(t, `INSERT INTO app.item (id, list_id, owner_id) SELECT g, 'l' || g, '7' FROM generate_series(1, 9) AS g`)
	s.seal(t)
	const list = `CREATE TABLE list (id TEXT PRIMARY KEY, owner_id TEXT, title TEXT NOT NULL %s, slug TEXT, rank INTEGER NOT NULL DEFAULT 0, seen TEXT)`
	for name, test := range map[string]struct {
		before, amid string // what the application does
		shadows      string // that are there in the end of the fetch
		waits        string // in the inbox
		more         string // a query of which the answer is 'as it should be'
	}{
		"nothing": {shadows: "2", more: `SELECT count(*) = 18 AND min(version) > 0 AND min(buckets) > 0 FROM _tide_row`},
		"an index, a view and a foreign key": {shadows: "2",
			amid: `CREATE INDEX by_title ON list (title); CREATE VIEW titles AS SELECT title FROM list INDEXED BY by_title WHERE title >= ''; CREATE TABLE mine (list_id TEXT REFERENCES list (id))`,
			more: `SELECT count(*) = 9 AND (SELECT sql LIKE '%REFERENCES list (id)%' FROM sqlite_schema WHERE name = 'mine') AND (SELECT sql LIKE '%REFERENCES "list" ("id")%' FROM sqlite_schema WHERE name = 'item')
				AND (SELECT count(*) = 1 FROM sqlite_schema WHERE type = 'index' AND name = 'item_fk_1') FROM titles`},
		"a row of its own": {shadows: "2", amid: `INSERT INTO list (id, title) VALUES ('mine', 'x')`, more: `SELECT count(*) = 10 FROM list`},
		"a row that the server has": {shadows: "2", amid: `INSERT INTO list (id, title) VALUES ('l1', 'x')`,
			more: `SELECT (SELECT count(*) FROM _tide_conflict WHERE key = 'l1') = 1 AND (SELECT title FROM list WHERE id = 'l1') = 'title 1'`},
		"an index that refuses a row":       {shadows: "2", amid: `CREATE UNIQUE INDEX one ON list (title)`, waits: "item 9\nlist l9"},
		"a constraint that refuses a row":   {before: fmt.Sprintf(list, "UNIQUE"), shadows: "1", waits: "item 9\nlist l9"},
		"a name in other quotes":            {before: strings.Replace(fmt.Sprintf(list, ""), "list", "[list]", 1), shadows: "2"},
		"a constraint that names its table": {before: fmt.Sprintf(list, "CHECK (list.title <> 'x')"), shadows: "1"},
		"a trigger": {before: fmt.Sprintf(list, "") + `; CREATE TABLE told (id); CREATE TRIGGER tells AFTER INSERT ON list BEGIN INSERT INTO told VALUES (NEW.id); END`, shadows: "1",
			more: `SELECT count(*) = 9 FROM told`},
	} {
		t.Run(name, func(t *testing.T) {
			config, path := s.config("7"), t.TempDir()+"/device.db"
			config.MaxRowsPerChunk = 4
			if test.before != "" {
				file(t, path, test.before)
			}
			c := s.open(t, path, config)
			chunks, sessions := 0, 0
			s.around = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.Method == http.MethodPost && r.URL.Path == "/sync/snapshot-sessions":
						sessions++
					case strings.HasPrefix(r.URL.Path, "/sync/snapshot-sessions/") && r.Method == http.MethodGet:
						if chunks++; chunks == 3 || chunks == 6 {
							http.Error(w, "cut", http.StatusBadGateway)
							return
						}
					}
					next.ServeHTTP(w, r)
				})
			}
			t.Cleanup(func() { s.around = nil })
			cut := func() {
				t.Helper()
				if err := c.Sync(t.Context()); err == nil {
					t.Fatal("it was not cut")
				}
				is(t, rows(t, c, `SELECT count(*) FROM item`), "0")
				c = s.open(t, path, config) // another process goes on
				c.SetMode(PullOnly)
			}
			cut()
			if test.amid != "" {
				do(t, c, test.amid)
			}
			cut()
			is(t, rows(t, c, `SELECT count(*) FROM sqlite_schema WHERE name GLOB '_tide_stage_shadow_*'`), test.shadows)
			synced(t, c)
			if sessions != 1 || chunks != 7 {
				t.Errorf("%d snapshots, %d requests for chunks", sessions, chunks)
			}
			is(t, rows(t, c, `SELECT t.local || ' ' || i.key FROM _tide_inbox AS i JOIN _tide_table AS t USING (tab) ORDER BY 1`), test.waits)
			is(t, rows(t, c, `SELECT id FROM list WHERE id <> 'mine' UNION ALL SELECT 'l9' WHERE ?1 ORDER BY 1`, test.waits != ""), s.there(t, `SELECT id FROM app.list`))
			is(t, rows(t, c, `SELECT id, list_id FROM item UNION ALL SELECT 9, 'l9' WHERE ?1 ORDER BY 1`, test.waits != ""), s.there(t, `SELECT format('%s|%s', id, list_id) FROM app.item`))
			if test.more != "" {
				is(t, rows(t, c, test.more), "1")
			}
			is(t, rows(t, c, `SELECT count(*) FROM sqlite_schema WHERE name GLOB '_tide_stage_*'`), "0")
			// What is written from now on is captured, and foreign keys hold.
			do(t, c, `UPDATE item SET body = 'x' WHERE id = 2`)
			is(t, rows(t, c, `SELECT count(*) FROM _tide_dirty WHERE key = '2'`), "1")
			if _, err := c.DB().Exec(`INSERT INTO item (id, list_id) VALUES (99, 'nowhere')`); err == nil {
				t.Error("a row without its parent")
			}
		})
	}
}
