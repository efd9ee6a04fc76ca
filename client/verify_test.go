package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A device that is as it should be has nothing to repair; what was damaged is found and mended, whatever
// the types of its columns, and edits that were not sent stay.
func TestVerify(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.member VALUES ('7', 'red'), ('7', 'blue');
		INSERT INTO app.notice SELECT g, CASE WHEN g % 2 = 0 THEN '{red}' ELSE '{red,blue}' END::text[], 'n' || g FROM generate_series(1, 5200) AS g;
		INSERT INTO app.list (id, owner_id, title, slug) VALUES ('l "1"', '7', E'tab\t"quote" \\ <&> \u2028 \x01', NULL);
		INSERT INTO app.item (id, list_id, owner_id, body, big, amount, ratio, done, data, extra, tags, at)
		SELECT g, 'l "1"', '7', 'é' || chr(g + 1), g * 100000000000, g / 7.0, (ARRAY[1e15, 123456789012345, 1e-4, 0.00001, -0.1, 'NaN', 'Infinity', 1e300, 0, 100000])[1 + g % 10], g % 2 = 0, decode(to_hex(4096 + g), 'hex'), '{"a": [1, 2.50]}', '{a,"b c",NULL}', 'epoch'
		  FROM generate_series(1, 20) AS g`)
	s.seal(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('mine', 'x')`)
	verified := func(rows int, want ...string) {
		t.Helper()
		v, err := a.Verify(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(v.Repaired)
		if v.Rows != rows || !slices.Equal(v.Repaired, want) {
			t.Fatalf("%d rows, repaired %q; want %d, %q", v.Rows, v.Repaired, rows, want)
		}
	}
	verified(7800 + 20 + 2)
	do(t, a, `PRAGMA foreign_keys = OFF; UPDATE _tide_state SET applying = 1;
		UPDATE item SET ratio = 0.25 WHERE id = 3; DELETE FROM item WHERE id = 4; INSERT INTO item (id) VALUES (99);
		DELETE FROM notice WHERE id IN (5, 6); UPDATE notice SET body = 'rotten' WHERE id = 7; UPDATE list SET title = 'rotten' WHERE id = 'mine';
		UPDATE _tide_state SET applying = 0`)
	do(t, a, `INSERT INTO item (id, body, owner_id) VALUES (50, 'of a', '7')`)
	verified(7800+20+4, "item 3", "item 4", "list mine", "notice 5", "notice 6", "notice 7")
	is(t, rows(t, a, `SELECT group_concat(body) FROM notice WHERE id BETWEEN 4 AND 7`), "n4,n5,n6,n7")
	is(t, rows(t, a, `SELECT title FROM list WHERE id = 'mine'`), "x")
	is(t, s.there(t, `SELECT body FROM app.item WHERE id IN (50, 99)`), "of a")
	verified(7800 + 20 + 4)
	// What the device forgot of a row, or believes to have of another user.
	do(t, a, `DELETE FROM _tide_row WHERE key = '10' AND tab = (SELECT tab FROM _tide_table WHERE local = 'notice');
		UPDATE _tide_row SET buckets = (SELECT buckets FROM _tide_set WHERE names = '["team:red"]') WHERE key = '11' AND tab = (SELECT tab FROM _tide_table WHERE local = 'notice');
		INSERT INTO _tide_row SELECT tab, '77', version, buckets FROM _tide_row WHERE key = '3' AND tab = (SELECT tab FROM _tide_table WHERE local = 'item')`)
	verified(7800+20+3, "item 77", "notice 10", "notice 11")
	verified(7800 + 20 + 4)
}

// A refused text does not hold up the rest.
func TestTextThatPostgreSQLCannotHave(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('a', 'nul' || char(0)), ('b', CAST(X'ff' AS TEXT)), ('c', 'fine')`)
	synced(t, a)
	is(t, letters(t, a), "list a 22021 ;list b 22021 ;")
	is(t, s.there(t, `SELECT id FROM app.list`), "c")
}

func TestFloatsAreSpelledAsPostgreSQLDoes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, f := range []float64{0, 1, -1, 0.1, 1e14, 1e15, 123456789012345680, 1e-4, 0.00012345, 1e-5, 1.5e300, 5e-324, 1e21, 100000} {
		is(t, string(appendFloat(nil, f)), s.there(t, fmt.Sprintf("SELECT to_json(%s::double precision)::text", strings.TrimSpace(fmt.Sprintf("'%g'", f)))))
	}
}
