package client

import "testing"

// Two devices of a user write, sync, and hold the same.
func TestTwoDevicesConverge(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b := s.device(t, "7"), s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l1', 'Groceries')`)
	do(t, a, `INSERT INTO item (id, list_id, body) VALUES (1, 'l1', 'milk'), (2, 'l1', 'bread')`)
	synced(t, a, b)
	const everything = `SELECT l.id, l.owner_id, l.title, l.seen, i.id, i.body, i.done FROM list AS l LEFT JOIN item AS i ON i.list_id = l.id ORDER BY l.id, i.id`
	is(t, rows(t, a, everything), "l1|7|Groceries|yes|1|milk|0\nl1|7|Groceries|yes|2|bread|0")
	is(t, rows(t, b, everything), rows(t, a, everything))

	do(t, b, `UPDATE item SET done = 1 WHERE id = 1`)
	do(t, b, `DELETE FROM item WHERE id = 2`)
	do(t, a, `UPDATE list SET title = 'Food'`)
	synced(t, b, a, b)
	is(t, rows(t, a, everything), "l1|7|Food|yes|1|milk|1")
	is(t, rows(t, b, everything), rows(t, a, everything))
	is(t, s.there(t, `SELECT concat_ws('|', id, body, done) FROM app.item`), "1|milk|t")

	// The server's own writers are heard too.
	s.exec(t, `UPDATE app.item SET body = 'oat milk'; INSERT INTO app.item (id, list_id, owner_id, body) VALUES (9, 'l1', '7', 'tea')`)
	s.seal(t)
	synced(t, a, b)
	is(t, rows(t, a, everything), "l1|7|Food|yes|1|oat milk|1\nl1|7|Food|yes|9|tea|0")
	is(t, rows(t, b, everything), rows(t, a, everything))
	for _, c := range []*Client{a, b} {
		is(t, rows(t, c, `SELECT (SELECT count(*) FROM _tide_dirty), (SELECT count(*) FROM _tide_outbox), (SELECT count(*) FROM _tide_inbox), (SELECT count(*) FROM _tide_conflict), (SELECT applying FROM _tide_state)`), "0|0|0|0|0")
	}
}

// What PostgreSQL and SQLite spell differently arrives as it was, in both directions.
func TestValuesAreExact(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b := s.device(t, "7"), s.device(t, "7")
	do(t, a, `INSERT INTO item (id, body, big, amount, ratio, done, data, extra, tags, at) VALUES
		(9223372036854775807, 'a''b"c\d' || char(10, 8232, 128169), -9223372036854775808, '1234567890123456789012345678.0123456789', 0.1 + 0.2, 1, X'00FF10', '{"a": [1, 1e400]}', '["x","y"]', '2026-01-02T03:04:05.123456+00:00'),
		(9007199254740993, '', 0, '0.5', 1e300, 0, X'', '[]', '[]', NULL),
		(-1, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL)`)
	synced(t, a, b)
	const everything = `SELECT id, body, big, typeof(big), amount, typeof(amount), ratio = 0.1 + 0.2, ratio, done, hex(data), typeof(data), tags, at FROM item ORDER BY id`
	is(t, rows(t, b, everything), rows(t, a, everything))
	is(t, rows(t, b, everything), "-1|-|-|null|-|null|-|-|0||null|-|-\n"+
		"9007199254740993||0|integer|0.5000000000|text|0|1e+300|0||blob|[]|-\n"+
		"9223372036854775807|a'b\"c\\d\n\u2028💩|-9223372036854775808|integer|1234567890123456789012345678.0123456789|text|1|0.30000000000000004|1|00FF10|blob|[\"x\",\"y\"]|2026-01-02T03:04:05.123456+00:00")
	is(t, s.there(t, `SELECT concat_ws('|', id, big, amount, ratio, data) FROM app.item WHERE id > 9007199254740993`),
		`9223372036854775807|-9223372036854775808|1234567890123456789012345678.0123456789|0.30000000000000004|\x00ff10`)
	// And back as a local change, with the base that the trigger kept.
	do(t, b, `UPDATE item SET ratio = ratio, big = big + 1, extra = '{"a": [1, 1e400]}' WHERE id > 9007199254740993`)
	synced(t, b, a)
	is(t, rows(t, a, everything), rows(t, b, everything))
	is(t, rows(t, a, `SELECT extra FROM item WHERE big < 0`), rows(t, b, `SELECT extra FROM item WHERE big < 0`))
}
