package client

import "testing"

// Every way of SQLite to change a row is noticed, with the row as the server has it, also the ones that
// call no trigger for the row they remove.
func TestEveryWriteIsCaptured(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `CREATE UNIQUE INDEX one_slug ON list (slug)`)
	a = s.open(t, s.path(t, a), s.config("7")) // what is unique is looked at when it opens
	do(t, a, `INSERT INTO list (id, title, slug) VALUES ('a', 'A', '1'), ('b', 'B', '2'), ('c', 'C', '3')`)
	do(t, a, `INSERT INTO item (id, list_id) VALUES (1, 'a'), (2, 'b')`)
	synced(t, a)
	there := func(want string) {
		t.Helper()
		synced(t, a)
		is(t, s.there(t, `SELECT concat_ws('|', id, title, slug) FROM app.list`), want)
		is(t, rows(t, a, `SELECT id || '|' || title || coalesce('|' || slug, '') FROM list ORDER BY 1`), want)
		is(t, rows(t, a, `SELECT count(*) FROM _tide_dirty`), "0")
	}
	for _, pragma := range []string{"OFF", "ON"} {
		do(t, a, `PRAGMA recursive_triggers = `+pragma)
		do(t, a, `INSERT OR REPLACE INTO list (id, title, slug) VALUES ('c', 'C2', '2')`)
		there("a|A|1\nc|C2|2")
		do(t, a, `INSERT OR IGNORE INTO list (id, title, slug) VALUES ('d', 'D', '2')`)
		do(t, a, `INSERT INTO list (id, title) VALUES ('a', 'x') ON CONFLICT (id) DO UPDATE SET title = 'A2'`)
		there("a|A2|1\nc|C2|2")
		do(t, a, `UPDATE list SET id = 'z' WHERE id = 'c'`)
		there("a|A2|1\nz|C2|2")
		do(t, a, `UPDATE OR REPLACE list SET slug = '1' WHERE id = 'z'`)
		there("z|C2|1")
		do(t, a, `DELETE FROM list`)
		there("")
		do(t, a, `INSERT INTO list (id, title, slug) VALUES ('a', 'A', '1'), ('b', 'B', '2'), ('c', 'C', '3')`)
		there("a|A|1\nb|B|2\nc|C|3")
	}
	// A transaction that is rolled back, or that changes nothing in the end, leaves nothing to push.
	tx, err := a.DB().Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`DELETE FROM list`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	do(t, a, `UPDATE list SET title = 'other'; UPDATE list SET title = upper(id); DELETE FROM list WHERE id = 'c'; INSERT INTO list (id, title, slug, owner_id, seen) VALUES ('c', 'C', '3', '7', 'yes')`)
	before := s.there(t, `SELECT count(*) FROM tide.bundles`)
	there("a|A|1\nb|B|2\nc|C|3")
	is(t, s.there(t, `SELECT count(*) FROM tide.bundles`), before)
}
