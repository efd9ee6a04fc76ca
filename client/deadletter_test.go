package client

import (
	"context"
	"fmt"
	"testing"
)

func letters(t testing.TB, c *Client) string {
	t.Helper()
	list, err := c.DeadLetters(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, l := range list {
		out += fmt.Sprintf("%s %s %s %s;", l.Table, l.Key, l.Code, l.Constraint)
	}
	return out
}

// A refused row waits, what depends on it waits with it, and the rest is sent. It can be mended with SQL.
func TestRefusedRowWaitsAndTheRestIsSent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b := s.device(t, "7"), s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('good', 'good'), ('l', 'bad')`)
	do(t, a, `INSERT INTO item (id, list_id, body) VALUES (1, 'l', 'child of a refused row'), (2, 'good', 'x')`)
	synced(t, a, b)
	is(t, letters(t, a), "list l 23514 list_title_check;")
	is(t, s.there(t, `SELECT id FROM app.list`), "good")
	is(t, s.there(t, `SELECT id FROM app.item`), "2")
	is(t, rows(t, a, `SELECT count(*) FROM list`), "2")

	// Retried as it is, it is refused again; what is written meanwhile is not held up.
	if err := a.Retry(context.Background(), "list", "l"); err != nil {
		t.Fatal(err)
	}
	do(t, a, `INSERT INTO item (id, list_id) VALUES (3, 'good')`)
	synced(t, a)
	is(t, letters(t, a), "list l 23514 list_title_check;")
	is(t, s.there(t, `SELECT id FROM app.item`), "2\n3")

	do(t, a, `UPDATE list SET title = 'mended' WHERE id = 'l'`)
	synced(t, a, b)
	is(t, letters(t, a), "")
	is(t, s.there(t, `SELECT id FROM app.item`), "1\n2\n3")
	is(t, rows(t, b, `SELECT id, list_id FROM item ORDER BY id`), "1|l\n2|good\n3|good")
}

// A discarded change leaves the row as the server has it.
func TestDiscardedChange(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'fine')`)
	synced(t, a)
	do(t, a, `UPDATE list SET title = 'bad'`)
	do(t, a, `INSERT INTO list (id, title) VALUES ('m', 'bad')`)
	synced(t, a)
	is(t, letters(t, a), "list l 23514 list_title_check;list m 23514 list_title_check;")
	for _, key := range []string{"l", "m"} {
		if err := a.Discard(context.Background(), "list", key); err != nil {
			t.Fatal(err)
		}
	}
	synced(t, a)
	is(t, rows(t, a, `SELECT id, title FROM list`), "l|fine")
	is(t, letters(t, a), "")
}

// A table that the server takes no pushes to: the rows wait, and nothing else is held up. What the
// application's hook refuses waits as a whole, with what the hook raised.
func TestWhatMayNotBePushed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `CREATE FUNCTION app.may_push(event jsonb) RETURNS void LANGUAGE plpgsql AS $$BEGIN
		IF event::text LIKE '%forbidden%' THEN RAISE EXCEPTION 'not today' USING ERRCODE = 'ZZ001'; END IF; END$$;
		GRANT USAGE ON SCHEMA app TO tide_owner;
		SELECT tide.set_hook('before_push_commit', 'app.may_push')`)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO notice (id, teams) VALUES (1, '[]')`)
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'fine')`)
	synced(t, a)
	is(t, letters(t, a), "notice 1 TD102 ;")
	is(t, s.there(t, `SELECT id FROM app.list`), "l")

	do(t, a, `INSERT INTO list (id, title) VALUES ('m', 'forbidden'), ('n', 'with it')`)
	synced(t, a)
	is(t, letters(t, a), "notice 1 TD102 ;list m ZZ001 ;list n ZZ001 ;")
	do(t, a, `UPDATE list SET title = 'fine'`)
	synced(t, a)
	is(t, letters(t, a), "notice 1 TD102 ;")
	is(t, s.there(t, `SELECT concat_ws('|', id, title) FROM app.list`), "l|fine\nm|fine\nn|fine")
}
