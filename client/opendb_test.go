package client

import (
	"context"
	"database/sql"
	"strings"
	"testing"
)

// An application that has its file open goes on with its own handle: what it writes is captured, and Close
// leaves the handle open.
func TestOpenWithADatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('there', '7', 'x')`)
	s.seal(t)
	db := file(t, t.TempDir()+"/own.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	for range 2 { // it is opened again
		c, err := OpenDB(context.Background(), db, s.config("7"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(`INSERT OR REPLACE INTO list (id, title) VALUES ('here', 'y')`); err != nil {
			t.Fatal(err)
		}
		synced(t, c)
		is(t, rows(t, c, `SELECT id FROM list ORDER BY id`), "here\nthere")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(); err != nil {
			t.Fatal(err)
		}
	}
	is(t, s.there(t, `SELECT id FROM app.list`), "here\nthere")
	memory := file(t, ":memory:")
	for _, bad := range []struct {
		db     *sql.DB
		config Config
		says   string
	}{{memory, s.config("7"), "in memory"}, {db, Config{URL: "x"}, "Config.User"}, {db, s.config("8"), ErrOtherUser.Error()}} {
		if _, err := OpenDB(context.Background(), bad.db, bad.config); err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%v", err)
		}
	}
}
