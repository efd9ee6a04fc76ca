package cursortest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
)

// What a device computes from what it was sent is what the server says of each bucket, whatever happened
// to the rows on the way, and by whichever of them they came.
func TestChecksumsAreWhatADeviceComputes(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `
		CREATE TABLE app.kind (id int, "Half" text COLLATE "C", owner_id int, f float8, n numeric(30,10), at timestamptz, day date, image bytea, j json, jb jsonb, a int[], PRIMARY KEY (id, "Half"));
		SELECT tide.register_table('app.kind', owner_column => 'owner_id');
		INSERT INTO app.access VALUES ('7', 'a'), ('7', 'b');
		INSERT INTO app.item (id, buckets) SELECT g, ARRAY[chr(97 + g % 3)] FROM generate_series(1, 50) AS g;
		INSERT INTO app.comment (id, item_id) SELECT g, 1 + g % 50 FROM generate_series(1, 200) AS g;
		INSERT INTO app.kind VALUES (1, E'é"\\\n', 7, 1e21, 1.10, '2026-01-02 03:04:05.6789+02', '2026-01-02', '\xCAFE', '{ "b" : 1,  "a":"\u00e9" }', '{"b": 1e3, "a": null}', '{1,NULL}'),
		                            (1, '<&>', 7, 'NaN', 'NaN', 'infinity', '-infinity', NULL, NULL, '"x"', '{}')`)
	server := cursorserver.OverHTTP(front(t, db), "7", "phone", 7, false)
	d := cursorclient.New(server)
	equal := func(after string) {
		t.Helper()
		if different, _, err := d.Differences(t.Context(), server); err != nil || len(different) > 0 {
			t.Fatalf("after %s: %v %v", after, different, err)
		}
	}
	for _, statement := range []string{
		`SELECT`,
		`UPDATE app.item SET n = n + 1, buckets = ARRAY[chr(97 + (id + 1) % 3)] WHERE id % 2 = 0`,
		`UPDATE app.kind SET f = 0.1, n = 123456789012345678.5, j = '[1 , 2]', at = at - interval '1 month' WHERE "Half" <> '<&>'`,
		`INSERT INTO app.access VALUES ('7', 'c')`,
		`UPDATE app.item SET buckets = '{b,c}', n = n + 1 WHERE id % 5 = 0`,
		`DELETE FROM app.item WHERE id % 7 = 0`,
		`DELETE FROM app.access WHERE bucket = 'b'`,
	} {
		exec(t, db, statement)
		exec(t, db, `SELECT tide.seal()`)
		if err := d.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(statement)
	}
	home, err := server.Verify(t.Context(), map[string]any{})
	if err != nil || home.BundleSeq == 0 || home.BundleID != 0 {
		t.Fatalf("%+v %v", home, err)
	}
	named, err := server.Verify(t.Context(), map[string]any{"buckets": []string{"user:7"}})
	if err != nil || named.Seal == "" || len(named.Checksums) == 0 || !slices.EqualFunc(home.Checksums, named.Checksums, func(a, b cursorclient.Checksum) bool { return a.Checksum == b.Checksum && a.Table == b.Table }) {
		t.Fatalf("%+v and %+v: %v", home, named, err)
	}
}

// Of many rows, exactly those that differ are found, in few requests, and can be had.
func TestDifferencesAreFound(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `
		INSERT INTO app.access VALUES ('7', 'a');
		INSERT INTO app.item (id, buckets) SELECT g, '{a}' FROM generate_series(1, 12000) AS g`)
	server := cursorserver.OverHTTP(front(t, db), "7", "phone", 0, false)
	d := cursorclient.New(server)
	synced(t, db, d, "7")
	if different, requests, err := d.Differences(t.Context(), server); err != nil || len(different) > 0 || requests != 1 {
		t.Fatalf("%v after %d requests: %v", different, requests, err)
	}
	want := []string{`app.item{"id":"0"}`, `app.item{"id":"1"}`, `app.item{"id":"4711"}`, `app.item{"id":"9"}`}
	d.Rows[want[0]] = d.Rows[want[2]]
	delete(d.Rows, want[1])
	row := d.Rows[want[2]]
	row.Payload = `{"id":4711,"n":1,"buckets":["a"]}`
	d.Rows[want[2]] = row
	exec(t, db, `UPDATE app.item SET n = 1 WHERE id = 9`)
	different, requests, err := d.Differences(t.Context(), server)
	if err != nil || !slices.Equal(different, want) {
		t.Fatalf("%v: %v", different, err)
	}
	// All, the ranges, the rows in four of them.
	if requests != 3 {
		t.Errorf("it took %d requests", requests)
	}
	repaired, err := server.Verify(t.Context(), map[string]any{"bucket": "a", "schema": "app", "table": "item", "payload": true, "prefixes": []string{cursorclient.Digest(`{"id":"4711"}`), cursorclient.Digest(`{"id":"0"}`)}})
	if err != nil || len(repaired.Rows) != 1 || string(repaired.Rows[0].Payload) != `{"id":4711,"n":0,"buckets":["a"]}` {
		t.Fatalf("%+v %v", repaired, err)
	}
	// More than one answer holds are left for the next.
	var all []string
	for n := range 256 {
		all = append(all, fmt.Sprintf("%02x", n))
	}
	checked, err := server.Verify(t.Context(), map[string]any{"bucket": "a", "schema": "app", "table": "item", "prefixes": all})
	if err != nil || len(checked.Rows) == 0 || len(checked.Rows) > 5000 || len(checked.Left) < 100 || checked.Left[len(checked.Left)-1] != "ff" {
		t.Fatalf("%d rows, left %v: %v", len(checked.Rows), checked.Left, err)
	}
}

// A bucket of others tells nothing, whether it exists or not; nor does a table that is not synced.
func TestOthersBucketsAreNotVerified(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'a'); INSERT INTO app.item (id, buckets) VALUES (1, '{a}'), (2, '{secret}'); INSERT INTO app.note VALUES (1, 0, 8)`)
	web := front(t, db)
	server := cursorserver.OverHTTP(web, "7", "phone", 0, false)
	d := cursorclient.New(server)
	synced(t, db, d, "7")
	for _, bucket := range []string{"secret", "nothing", "user:8", "", "global"} {
		for _, asked := range []map[string]any{
			{"buckets": []string{bucket}},
			{"buckets": []string{"a", bucket}},
			{"bucket": bucket, "schema": "app", "table": "item"},
			{"bucket": bucket, "schema": "app", "table": "item", "prefixes": []string{"00"}, "payload": true},
		} {
			if _, err := server.Verify(t.Context(), asked); refused(t, err) != "bucket_forbidden" {
				t.Errorf("%v: %v", asked, err)
			}
		}
	}
	for _, asked := range []map[string]any{
		{"bucket": "a", "schema": "app", "table": "access"},
		{"bucket": "a", "schema": "tide", "table": "setting"},
		{"bucket": "a", "schema": "app", "table": "item", "prefixes": []string{"0"}},
		{"bucket": "a", "schema": "app", "table": "item", "prefixes": []string{"00", "0000"}},
		{"bucket": "a", "schema": "app", "table": "item", "prefixes": []string{"zz"}},
		{"bucket": "a", "schema": "app", "table": "item", "prefixes": []string{}},
		{"bucket": "a", "schema": "app", "table": "item", "prefixes": make([]string, 1001)},
		{"buckets": []string{}},
		{"buckets": "a"},
	} {
		if _, err := server.Verify(t.Context(), asked); refused(t, err) != "verify_invalid" {
			t.Errorf("%v: %v", asked, err)
		}
	}
	checked, err := server.Verify(t.Context(), map[string]any{"buckets": []string{"a", "user:7"}})
	if err != nil || len(checked.Checksums) != 1 || checked.Checksums[0].RowCount != 1 {
		t.Errorf("%+v %v", checked, err)
	}
	// Not his any more from the next request on.
	exec(t, db, `DELETE FROM app.access`)
	if _, err := server.Verify(t.Context(), map[string]any{"buckets": []string{"a"}}); refused(t, err) != "bucket_forbidden" {
		t.Error(err)
	}
}
