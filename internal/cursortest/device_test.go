package cursortest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// Rows lie in the buckets that they list, notes in that of their owner; a table says who reads what.
const schema = `
	CREATE SCHEMA app;
	CREATE TABLE app.access (user_id text, bucket text, PRIMARY KEY (user_id, bucket));
	CREATE TABLE app.item (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, buckets text[] NOT NULL);
	CREATE TABLE app.comment (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, item_id int REFERENCES app.item ON DELETE CASCADE);
	CREATE TABLE app.note (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, owner_id int);
	CREATE FUNCTION app.item_buckets(r app.item) RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT r.buckets';
	CREATE FUNCTION app.reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT a.bucket FROM app.access AS a WHERE a.user_id = $1';
	GRANT USAGE ON SCHEMA app TO tide_owner;
	SELECT tide.register_table('app.item', bucket_function => 'app.item_buckets');
	SELECT tide.register_table('app.comment', parent => 'app.item', parent_fk => 'item_id');
	SELECT tide.register_table('app.note', owner_column => 'owner_id', null_owner_bucket => 'global');
	SELECT tide.set_bucket_access('app.reads');
	SELECT tide.add_access_dependency('app.access', 'user_id')`

func setup(t testing.TB) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	exec(t, db, schema)
	exec(t, db, `SELECT tide.seal()`)
	return db
}

// visible is what a device of the user must hold: one plain query. IS TRUE has mine hashed, and not joined row by row.
func visible(t testing.TB, db *pgtest.DB, user string) map[string]string {
	t.Helper()
	rows, err := db.Query(t.Context(), `
		WITH mine AS (SELECT bucket FROM app.access WHERE user_id = $1 UNION SELECT 'user:' || $1),
		     every AS (SELECT 'app.item' AS t, id, row_to_json(item)::text AS payload, buckets FROM app.item
		               UNION ALL SELECT 'app.comment', comment.id, row_to_json(comment)::text, i.buckets FROM app.comment JOIN app.item AS i ON i.id = comment.item_id
		               UNION ALL SELECT 'app.note', id, row_to_json(note)::text, ARRAY[coalesce('user:' || owner_id, 'global')] FROM app.note)
		SELECT format('%s{"id":"%s"}', t, id), format('%s %s', payload, b.both)
		  FROM every CROSS JOIN LATERAL (SELECT array_agg(DISTINCT x ORDER BY x) AS both FROM unnest(buckets) AS x WHERE (x IN (SELECT bucket FROM mine)) IS TRUE) AS b
		 WHERE b.both IS NOT NULL`, user)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	var id, row string
	if _, err := pgx.ForEachRow(rows, []any{&id, &row}, func() error { want[id] = row; return nil }); err != nil {
		t.Fatal(err)
	}
	return want
}

// holds compares a device with the query of its user.
func holds(t testing.TB, db *pgtest.DB, d *cursorclient.Device, user string) bool {
	t.Helper()
	want, same := visible(t, db, user), true
	for id, row := range d.Rows {
		text := row.Payload + " {"
		for i, bucket := range row.Buckets {
			if i > 0 {
				text += ","
			}
			text += bucket
		}
		if text += "}"; want[id] != text {
			t.Errorf("device of %s: %s is %s at %d, want %q", user, id, text, row.Version, want[id])
			same = false
		}
	}
	for id, row := range want {
		if _, held := d.Rows[id]; !held {
			t.Errorf("device of %s lacks %s %s", user, id, row)
			same = false
		}
	}
	return same
}

func synced(t testing.TB, db *pgtest.DB, d *cursorclient.Device, user string) {
	t.Helper()
	exec(t, db, `SELECT tide.seal()`)
	if err := d.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds(t, db, d, user)
}

// What a device hears of rows that change, move and go, and of buckets that come and go.
func TestDeviceFollows(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `
		INSERT INTO app.access VALUES ('7', 'a'), ('7', 'b'), ('8', 'b'), ('8', 'c');
		INSERT INTO app.item (id, buckets) VALUES (1, '{a}'), (2, '{a,b}'), (3, '{b,c}'), (4, '{c}');
		INSERT INTO app.comment (id, item_id) SELECT g, 1 + g % 4 FROM generate_series(1, 20) AS g;
		INSERT INTO app.note (id, owner_id) VALUES (1, 7), (2, 8), (3, NULL)`)
	seven, eight := device(db, "7", "phone"), device(db, "8", "phone")
	eight.Server.(*cursorserver.SQL).ChunkRows = 0
	for _, statement := range []string{
		`SELECT`,
		`UPDATE app.item SET n = n + 1`,
		`UPDATE app.item SET buckets = '{b}' WHERE id = 1`,
		`UPDATE app.item SET buckets = '{c}' WHERE id = 2`,
		`DELETE FROM app.item WHERE id = 3`,
		`INSERT INTO app.item (id, buckets) VALUES (3, '{a,c}'), (5, '{d}')`,
		`INSERT INTO app.access VALUES ('7', 'd'), ('8', 'global')`,
		`DELETE FROM app.access WHERE bucket = 'b'`,
		`UPDATE app.note SET owner_id = 15 - owner_id`,
		`INSERT INTO app.access VALUES ('7', 'b'), ('8', 'b')`,
		`UPDATE app.comment SET n = n + 1, item_id = 1 + (item_id + id) % 2 WHERE item_id < 3`,
		`TRUNCATE app.item, app.comment`,
	} {
		exec(t, db, statement)
		synced(t, db, seven, "7")
		synced(t, db, eight, "8")
		if t.Failed() {
			t.Fatalf("after %s", statement)
		}
	}
}

// Fault 4 of the design: a row moving between two buckets of the same client was deleted on the device.
func TestRowMovesBetweenBucketsOfOneClient(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'a'), ('7', 'b'); INSERT INTO app.item (id, buckets) VALUES (1, '{a}'), (2, '{a,b}')`)
	d := device(db, "7", "phone")
	synced(t, db, d, "7")
	exec(t, db, `UPDATE app.item SET buckets = '{b}'`)
	exec(t, db, `SELECT tide.seal()`)
	page, err := d.Server.Pull(t.Context(), d.Cursor, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Bundles) != 1 || len(page.Bundles[0].Rows) != 2 {
		t.Fatalf("the move is %+v", page)
	}
	for _, row := range page.Bundles[0].Rows {
		if row.Op != "UPDATE" || !slices.Equal(row.Buckets, []string{"b"}) || row.Payload == "" {
			t.Errorf("a row that moved is %+v", row)
		}
	}
	synced(t, db, d, "7")
}

// Fault 14 of the design: one idle bucket with an old position starved the busy ones. A page is filled
// from whatever has bundles, and a bucket that must be fetched again holds up nobody.
func TestFault14IdleBucketStarvesNobody(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'idle'), ('7', 'busy'); INSERT INTO app.item (id, buckets) VALUES (1, '{idle}'), (2, '{busy}')`)
	d := device(db, "7", "phone")
	d.MaxBundles = 3
	synced(t, db, d, "7")
	for range 20 {
		exec(t, db, `UPDATE app.item SET n = n + 1 WHERE id = 2`)
	}
	exec(t, db, `SELECT tide.seal()`)
	before := d.Stands["busy"].BundleID
	if _, err := d.Pull(t.Context()); err != nil || d.Stands["busy"].BundleID != before+3 {
		t.Errorf("a page of 3 went from %d to %d: %v", before, d.Stands["busy"].BundleID, err)
	}
	// What retention leaves behind: a floor above everybody's position, in the idle bucket alone.
	exec(t, db, `INSERT INTO tide.bucket_floor (bucket_id, floor_seq, floor_bundle_id, seal_id, reason)
		SELECT 'idle', 100, h.bundle_id, h.seal_id, 'pruned' FROM tide.head_seal() AS h`)
	page, err := d.Server.Pull(t.Context(), d.Cursor, 1000)
	if err != nil || fmt.Sprint(page.Repair) != "[idle]" {
		t.Fatalf("a pull below the floor of one bucket: %+v, %v", page, err)
	}
	if err := d.Connect(t.Context()); err != nil || fmt.Sprint(d.Missing()) != "[idle]" {
		t.Fatalf("to fetch: %q, %v", d.Missing(), err)
	}
	for more := true; more; {
		if more, err = d.Pull(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if row := d.Rows[`app.item{"id":"2"}`]; row.Version != value[int64](t, db, `SELECT tide.head()`) {
		t.Errorf("the busy bucket waited for the idle one: %+v", row)
	}
	if err := d.Fetch(t.Context(), []string{"idle"}); err != nil {
		t.Fatal(err)
	}
	synced(t, db, d, "7")
}

// Where nothing happened since, the snapshot of another bucket has rows at the version that the device
// holds already, now in both.
func TestFetchedAtTheSameVersion(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'a'); INSERT INTO app.item (id, buckets) VALUES (1, '{a,b}')`)
	d := device(db, "7", "phone")
	synced(t, db, d, "7")
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'b')`)
	exec(t, db, `UPDATE app.item SET n = n + 1`)
	synced(t, db, d, "7")
}
