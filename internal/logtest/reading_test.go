package logtest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// A reader of several buckets gets each bundle once, and rows by what he may see in all of them.
func TestPullOverSeveralBuckets(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	after := value[int64](t, db, `SELECT tide.head()`)
	exec(t, db,
		`UPDATE app.task SET owner = 2 WHERE id = 1`,
		`UPDATE app.task SET owner = 0 WHERE id = 4`,
		`INSERT INTO app.task VALUES (20, 1), (21, 2), (22, 0)`,
		`UPDATE app.task SET owner = 1 WHERE id = 22`,
		`DELETE FROM app.task WHERE id = 2`)
	seal(t, db)
	lines := func(query string) []string {
		return value[[]string](t, db, `SELECT coalesce(array_agg(format('%s %s %s %s', bundle_id - $1::bigint, op, key ->> 'id', bucket_ids) ORDER BY bundle_id, row_ordinal), '{}') FROM `+query, after)
	}
	if got, want := lines(`tide.pull('{user:2,user:1}'::text[], $1)`), []string{
		"1 UPDATE 1 {user:2}", "2 DELETE 4 {user:1}", "3 INSERT 20 {user:1}", "3 INSERT 21 {user:2}", "4 INSERT 22 {user:1}", "5 DELETE 2 {user:2}",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := lines(`tide.pull('{user:2,user:1}'::text[], $1::bigint + 1, 2)`), []string{"2 DELETE 4 {user:1}", "3 INSERT 20 {user:1}", "3 INSERT 21 {user:2}"}; !slices.Equal(got, want) {
		t.Errorf("a page of two: got %q, want %q", got, want)
	}
	if got, want := lines(`tide.pull('{user:1}'::text[], $1, target_bundle_id => $1::bigint + 3)`), []string{"1 DELETE 1 {user:1}", "2 DELETE 4 {user:1}", "3 INSERT 20 {user:1}"}; !slices.Equal(got, want) {
		t.Errorf("up to a target: got %q, want %q", got, want)
	}
}

// Whoever loses a row learns that, and nothing of where it went or what it became.
func TestARowThatLeftIsBlank(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	exec(t, db, `UPDATE app.task SET owner = 2, title = 'secret' WHERE id = 1`)
	seal(t, db)
	for query, reads := range map[string]string{
		"tide.pull":               `tide.pull('user:%s', 1)`,
		"tide.pull of several":    `tide.pull('{user:%s}'::text[], tide.head() - 1)`,
		"tide.bundle_rows":        `tide.bundle_rows('user:%s', 2)`,
		"tide.device_bundle_rows": `tide.device_bundle_rows('%s', 'device', 2)`,
		"tide.changes":            `tide.changes AS c WHERE c.bucket_id = 'user:%s' AND c.bundle_seq = 2`,
	} {
		for user, want := range map[string]string{"1": "DELETE", "2": "INSERT secret"} {
			if got := value[string](t, db, `SELECT string_agg(concat_ws(' ', op, payload ->> 'title'), ', ') FROM `+fmt.Sprintf(reads, user)); got != want {
				t.Errorf("%s, bucket of %s: got %q, want %q", query, user, got, want)
			}
		}
	}
}

// A page is bounded by bytes, holds at least one bundle, and never a part of one.
func TestPagesAreWholeBundles(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	for i := range 10 {
		exec(t, db, fmt.Sprintf(`INSERT INTO app.task SELECT %d + g, 1, repeat('x', 1000) FROM generate_series(1, 5) AS g`, 100+10*i))
	}
	seal(t, db)
	const page = `SELECT count(DISTINCT bundle_seq)::int FROM tide.pull('user:1', 1, $1, $2)`
	for _, c := range []struct{ bundles, bytes, want int }{{100, 1, 1}, {100, 5000, 1}, {100, 11500, 2}, {3, 1 << 20, 3}, {100, 1 << 20, 10}} {
		if got := value[int](t, db, page, c.bundles, c.bytes); got != c.want {
			t.Errorf("a page of %d bundles and %d bytes has %d, want %d", c.bundles, c.bytes, got, c.want)
		}
	}
	if got := value[int](t, db, `SELECT count(*) FROM tide.pull('user:1', 1, 1, 1)`); got != 5 {
		t.Errorf("the smallest page has %d rows, want the whole bundle of 5", got)
	}
	if got := value[int64](t, db, `SELECT max(bundle_seq) FROM tide.pull('user:1', 1, target_bundle_seq => 4)`); got != 4 {
		t.Errorf("a pull up to 4 ends at %d", got)
	}
	if got := value[int64](t, db, `SELECT max(bundle_seq) FROM tide.pull('user:1', 1, target_bundle_seq => 99)`); got != 11 {
		t.Errorf("a target beyond the head ends at %d, want 11", got)
	}
}

func TestOriginAndPosition(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	conn := db.Connect(t, db.URL)
	xid := func(end string) string {
		var xid string
		if err := conn.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text`).Scan(&xid); err != nil {
			t.Fatal(err)
		}
		must(t, conn, end)
		return xid
	}
	must(t, conn, `BEGIN`, `SELECT tide.set_origin('first', 1)`, `SET LOCAL app.user_id = 'ada'`, `SELECT tide.set_origin('device-1', 7, 'import')`, `UPDATE app.task SET title = 'x' WHERE id = 1`,
		`SAVEPOINT s`, `SELECT tide.set_origin('undone', 9)`, `ROLLBACK TO s`)
	named := xid(`COMMIT`)
	must(t, conn, `BEGIN`, `UPDATE app.task SET title = 'y' WHERE id = 1`)
	plain := xid(`COMMIT`)
	must(t, conn, `BEGIN`, `INSERT INTO app.task VALUES (50, NULL)`)
	nowhere := xid(`COMMIT`)
	must(t, conn, `BEGIN`, `UPDATE app.task SET title = 'z' WHERE id = 1`)
	undone := xid(`ROLLBACK`)

	const position = `SELECT tide.position_of($1::text::xid8)`
	if got := value[*int64](t, db, position, named); got != nil {
		t.Errorf("an unsealed transaction is at %d", *got)
	}
	last := seal(t, db)
	for name, c := range map[string]struct {
		xid  string
		want int64
	}{"the first": {named, last - 1}, "the second": {plain, last}, "one in no bucket": {nowhere, last}} {
		if got := value[int64](t, db, position, c.xid); got != c.want {
			t.Errorf("%s is at %d, want %d", name, got, c.want)
		}
	}
	_, err := db.Exec(t.Context(), position, undone)
	refused(t, err, "TD019", "never")
	want := []string{fmt.Sprintf("device-1 7 ada import at %d", last-1), fmt.Sprintf("server %d   at %d", last, last)}
	if got := value[[]string](t, db, `SELECT array_agg(format('%s %s %s %s at %s', source_id, source_bundle_id, user_id, label, bundle_id) ORDER BY bundle_id) FROM tide.bundles`); !slices.Equal(got, want) {
		t.Errorf("origins are %q, want %q", got, want)
	}
	for i := range 30 {
		exec(t, db, fmt.Sprintf(`UPDATE app.task SET title = '%d' WHERE id = 1`, i))
		seal(t, db)
	}
	if got := value[int64](t, db, position, plain); got != last {
		t.Errorf("after 30 more seals the second is at %d, want %d", got, last)
	}
}

// Readers work where nothing can be written: on a hot standby, or in a read-only transaction.
func TestReadingNeverWrites(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	exec(t, db, `UPDATE app.task SET owner = 2 WHERE id = 1`)
	seal(t, db)
	conn := db.Connect(t, db.URL)
	must(t, conn, `BEGIN READ ONLY`, `SELECT * FROM tide.pull('user:1', 1)`, `SELECT * FROM tide.pull('{user:1,user:2}'::text[], 1)`,
		`SELECT * FROM tide.bundle_rows('user:1', 2)`, `SELECT * FROM tide.row_history('app.task', '{"id": 1}')`, `SELECT * FROM tide.bucket_position('user:1')`,
		`SELECT * FROM tide.bundles`, `SELECT * FROM tide.changes`, `SELECT * FROM tide.tables`, `SELECT * FROM tide.buckets`, `SELECT * FROM tide.status`, `SELECT * FROM tide.lag`,
		`SELECT * FROM tide.check()`)
	var assigned *string
	if err := conn.QueryRow(t.Context(), `SELECT pg_current_xact_id_if_assigned()::text`).Scan(&assigned); err != nil {
		t.Fatal(err)
	}
	if assigned != nil {
		t.Errorf("reading took transaction id %s", *assigned)
	}
	// A seal that finds nothing writes nothing either.
	must(t, conn, `COMMIT`, `BEGIN`, `SELECT tide.seal()`)
	if err := conn.QueryRow(t.Context(), `SELECT pg_current_xact_id_if_assigned()::text`).Scan(&assigned); err != nil {
		t.Fatal(err)
	}
	if assigned != nil {
		t.Errorf("a seal that found nothing took transaction id %s", *assigned)
	}
	must(t, conn, `COMMIT`)
}
