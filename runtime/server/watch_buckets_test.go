package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// withTeams shares items in buckets that a table says who reads.
func withTeams(t *testing.T, config Config) *front {
	t.Helper()
	f := newRunningFront(t, config)
	f.exec(t, `
		CREATE TABLE app.access (user_id text, bucket text, PRIMARY KEY (user_id, bucket));
		CREATE TABLE app.item (id int PRIMARY KEY, bucket text NOT NULL, n int NOT NULL DEFAULT 0);
		CREATE FUNCTION app.item_buckets(r app.item) RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT ARRAY[r.bucket]';
		CREATE FUNCTION app.reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT a.bucket FROM app.access AS a WHERE a.user_id = $1';
		GRANT USAGE ON SCHEMA app TO tide_owner;
		SELECT tide.register_table('app.item', bucket_function => 'app.item_buckets');
		SELECT tide.set_bucket_access('app.reads');
		SELECT tide.add_access_dependency('app.access', 'user_id');
		INSERT INTO app.access VALUES ('u1', 'a'), ('u1', 'b'), ('u2', 'b')`,
		`INSERT INTO app.item VALUES (1, 'a'), (2, 'b'), (3, 'c')`, `SELECT tide.seal()`)
	return f
}

// fetched is the cursor of a device that has everything.
func (d phone) fetched(t *testing.T) (query string) {
	t.Helper()
	begun := d.post(t, "/sync/connect", `{"has_local_pending_rows":false,"buckets":true}`).is(t, http.StatusOK, "").field(t, "cursor")
	lines := strings.Split(strings.TrimSpace(d.get(t, "/sync/snapshot?cursor="+url.QueryEscape(begun)).body), "\n")
	var last struct{ Cursor string }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Cursor == "" {
		t.Fatalf("%v: %s", err, lines)
	}
	return "?cursor=" + url.QueryEscape(last.Cursor)
}

// wrote is the bundle of what a statement did.
func (f *front) wrote(t *testing.T, statement string) (bundleID int64) {
	t.Helper()
	f.exec(t, statement, `SELECT tide.seal()`)
	if err := f.db.QueryRow(t.Context(), `SELECT tide.head()`).Scan(&bundleID); err != nil {
		t.Fatal(err)
	}
	return bundleID
}

func bundleEvent(bundleID int64) string {
	return fmt.Sprintf(`event: bundle|id: %d|data: {"bundle_id":%[1]d}`, bundleID)
}

// A device that holds many buckets hears of each of them and of no other, whichever way it comes again, and
// of a bucket that is taken from its user no more.
func TestWatchBuckets(t *testing.T) {
	t.Parallel()
	f := withTeams(t, Config{})
	ann, ben := f.device("u1", "phone").connect(t), f.device("u2", "phone").connect(t)
	cursor, cursorOfBen := ann.fetched(t), ben.fetched(t)
	s, other := ann.watch(t, cursor), ben.watch(t, cursorOfBen)
	s.is(bundleEvent(f.wrote(t, `UPDATE app.item SET n = 1 WHERE id = 1`)))
	f.wrote(t, `UPDATE app.item SET n = 1 WHERE id = 3`)
	both := f.wrote(t, `UPDATE app.item SET n = 1 WHERE id = 2`)
	s.is(bundleEvent(both))
	other.is(bundleEvent(both))
	last := f.wrote(t, `INSERT INTO app.note VALUES (1, 'u1')`)
	s.is(bundleEvent(last))

	ann.watch(t, cursor).is(bundleEvent(last))
	ann.watch(t, cursor, "Last-Event-ID", fmt.Sprint(both)).is(bundleEvent(last))
	again := ann.watch(t, cursor, "Last-Event-ID", fmt.Sprint(last))
	ahead := ann.watch(t, cursor, "Last-Event-ID", "9000000000000000000")
	next := f.wrote(t, `UPDATE app.item SET n = 2 WHERE id = 1`)
	for _, stream := range []*stream{s, again, ahead} {
		stream.is(bundleEvent(next))
	}

	// What he may read is another set: his home bucket says so, and so does a stream that begins later.
	came := f.wrote(t, `INSERT INTO app.access VALUES ('u1', 'c')`)
	s.is(bundleEvent(came))
	up := ann.get(t, "/sync/pull"+cursor).is(t, http.StatusOK, "").field(t, "cursor")
	ann.watch(t, "?cursor="+url.QueryEscape(up)).is(bundleEvent(came))
	s.is(bundleEvent(f.wrote(t, `DELETE FROM app.access WHERE user_id = 'u1' AND bucket = 'b'`)))
	other.is(bundleEvent(f.wrote(t, `UPDATE app.item SET n = 3 WHERE id = 2`)))
	s.is("end")

	ann.get(t, "/sync/watch?cursor=").is(t, http.StatusBadRequest, "cursor_invalid")
	ann.get(t, "/sync/watch?cursor=x").is(t, http.StatusBadRequest, "cursor_invalid")
	ann.with(t, http.MethodGet, "/sync/watch"+cursor, "", "Last-Event-ID", "x").is(t, http.StatusBadRequest, "invalid_request")
	f.device("u2", "tablet").get(t, "/sync/watch"+cursor).is(t, http.StatusConflict, "bucket_list_needed")
	f.device("u3", "phone").get(t, "/sync/watch"+cursor).is(t, http.StatusConflict, "scope_uninitialized")
	f.server.Drain()
	other.ends()
}

// Thousands of buckets count as several streams.
func TestWatchOfManyBuckets(t *testing.T) {
	t.Parallel()
	f := withTeams(t, Config{MaxWatchesPerUser: 4})
	f.exec(t, fmt.Sprintf(`INSERT INTO app.access SELECT 'u1', 'team:' || g FROM generate_series(1, %d) AS g`, bucketsPerStream), `SELECT tide.seal()`)
	d := f.device("u1", "phone").connect(t)
	cursor := d.fetched(t)
	for range 2 {
		d.watch(t, cursor)
	}
	d.get(t, "/sync/watch"+cursor).is(t, http.StatusTooManyRequests, "too_many_streams")
	d.get(t, "/sync/watch").is(t, http.StatusTooManyRequests, "too_many_streams")
}
