package client

import (
	"context"
	"strings"
	"testing"
	"time"
)

// The server gets a column and a table. A device that is there already, with an edit that was not sent, has
// both after its next sync, also the values of rows that it had before; another process on the file too.
func TestServerGetsMoreTablesAndColumns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('a', '7', 'one'), ('b', '7', 'two')`)
	s.seal(t)
	a := s.device(t, "7")
	synced(t, a)
	other := s.open(t, s.path(t, a), s.config("7"))
	s.exec(t, `
		ALTER TABLE app.list ADD COLUMN color text, ADD COLUMN weight int NOT NULL DEFAULT 1;
		UPDATE app.list SET color = 'red', weight = 5;
		SELECT tide.refresh('app.list');
		CREATE TABLE app.label (id text PRIMARY KEY, owner_id text, list_id text REFERENCES app.list);
		INSERT INTO app.label VALUES ('l', '7', 'a');
		SELECT tide.register_table('app.label', owner_column => 'owner_id', push_policy => 'owner_only')`)
	s.seal(t)
	do(t, a, `UPDATE list SET title = 'mine' WHERE id = 'a'`)
	a.looked = time.Time{} // an hour later
	synced(t, a)
	is(t, rows(t, a, `SELECT id, title, color, weight FROM list ORDER BY id`), "a|mine|red|5\nb|two|red|5")
	is(t, rows(t, a, `SELECT id, list_id FROM label`), "l|a")
	is(t, s.there(t, `SELECT concat_ws('|', id, title, color, weight) FROM app.list`), "a|mine|red|5\nb|two|red|5")
	is(t, rows(t, a, `SELECT count(*) FROM _tide_conflict`), "0")

	// The other one opened the file before, and captures and reads the new column nevertheless.
	s.exec(t, `UPDATE app.list SET color = 'blue' WHERE id = 'b'`)
	s.seal(t)
	do(t, other, `UPDATE list SET color = 'green' WHERE id = 'a'`)
	do(t, other, `INSERT INTO label (id, list_id) VALUES ('m', 'b')`)
	synced(t, other)
	is(t, rows(t, other, `SELECT id, color, weight FROM list ORDER BY id`), "a|green|5\nb|blue|5")
	is(t, s.there(t, `SELECT concat_ws('|', id, color) FROM app.list`), "a|green\nb|blue")
	is(t, s.there(t, `SELECT concat_ws('|', id, owner_id, list_id) FROM app.label`), "l|7|a\nm|7|b")
	v, err := other.Verify(t.Context())
	if err != nil || len(v.Repaired) > 0 {
		t.Fatal(v, err)
	}
}

// A table that the application made does not get columns behind its back: what was synced goes on, Status
// says what is lacking, and once the application has added it the device has the values too.
func TestColumnThatTheAppMustAdd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path := t.TempDir() + "/device.db"
	file(t, path, `CREATE TABLE list (id TEXT PRIMARY KEY, owner_id TEXT, title TEXT NOT NULL, slug TEXT, rank INTEGER NOT NULL DEFAULT 0, seen TEXT)`)
	a := s.open(t, path, s.config("7"))
	do(t, a, `INSERT INTO list (id, title) VALUES ('a', 'one')`)
	synced(t, a)
	s.exec(t, `ALTER TABLE app.list ADD COLUMN color text; UPDATE app.list SET color = 'red'; SELECT tide.refresh('app.list')`)
	s.seal(t)
	misfit := func() string {
		a.looked = time.Time{}
		synced(t, a)
		status, err := a.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return status.Misfit
	}
	if got := misfit(); !strings.Contains(got, "table list lacks the column color") {
		t.Fatalf("misfit %q", got)
	}
	do(t, a, `UPDATE list SET title = 'two'`)
	synced(t, a)
	is(t, s.there(t, `SELECT concat_ws('|', title, color) FROM app.list`), "two|red")
	do(t, a, `ALTER TABLE list ADD COLUMN color TEXT`)
	if got := misfit(); got != "" {
		t.Fatalf("misfit %q", got)
	}
	is(t, rows(t, a, `SELECT title, color FROM list`), "two|red")
}

// Tables are made as the server describes them: types, keys, defaults, foreign keys; columns that are not
// synced are not there. The local database enforces them.
func TestTablesAreMade(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `
		CREATE TABLE app."Mixed ""Name""" (a int, b text, owner_id text NOT NULL, secret text, price numeric(10,2) NOT NULL DEFAULT 1.50, state text NOT NULL DEFAULT 'it''s open'::text,
			ratio real DEFAULT 0.5, on_sale boolean NOT NULL DEFAULT true, made timestamptz NOT NULL DEFAULT now(), list_id text NOT NULL REFERENCES app.list ON DELETE SET NULL, PRIMARY KEY (b, a));
		SELECT tide.register_table('app."Mixed ""Name"""', owner_column => 'owner_id', push_policy => 'owner_only', exclude_columns => '{secret}')`)
	a := s.device(t, "7")
	is(t, rows(t, a, `SELECT sql FROM sqlite_schema WHERE name = 'Mixed "Name"'`), strings.Join([]string{
		`CREATE TABLE "Mixed ""Name""" (`,
		`    "a" INTEGER NOT NULL,`,
		`    "b" TEXT NOT NULL,`,
		`    "owner_id" TEXT,`,
		`    "price" TEXT NOT NULL DEFAULT '1.50',`,
		`    "state" TEXT NOT NULL DEFAULT 'it''s open',`,
		`    "ratio" REAL DEFAULT 0.5,`,
		`    "on_sale" INTEGER NOT NULL DEFAULT 1,`,
		`    "made" TEXT,`,
		`    "list_id" TEXT NOT NULL,`,
		`    PRIMARY KEY ("b", "a"),`,
		`    FOREIGN KEY ("list_id") REFERENCES "list" ("id") ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED`,
		`)`}, "\n"))
	_, err := a.DB().Exec(`INSERT INTO "Mixed ""Name""" (a, b, list_id) VALUES (1, 'x', 'nowhere')`)
	if constraint(err) == 0 {
		t.Fatalf("a row without its parent: %v", err)
	}
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'x'); INSERT INTO "Mixed ""Name""" (a, b, list_id) VALUES (1, 'x', 'l')`)
	synced(t, a)
	is(t, rows(t, a, `SELECT owner_id, price, state, ratio, on_sale, made IS NOT NULL FROM "Mixed ""Name"""`), "7|1.50|it's open|0.5|1|1")
}
