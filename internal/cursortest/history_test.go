package cursortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/cursorserver"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// earlier is the database as it is now, for when it goes back to this state: a restore to a point in time.
func earlier(t *testing.T, db *pgtest.DB) *pgtest.DB {
	t.Helper()
	name := value[string](t, db, `SELECT current_database()`)
	db.Reset()
	config := db.Config().ConnConfig.Copy()
	config.Database = "postgres"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // nothing is left to do with it
	if _, err := conn.Exec(t.Context(), fmt.Sprintf(`CREATE DATABASE %s_earlier TEMPLATE %[1]s`, name)); err != nil {
		t.Fatal(err)
	}
	poolConfig := db.Config().Copy()
	poolConfig.ConnConfig.Database = name + "_earlier"
	pool, err := pgxpool.NewWithConfig(t.Context(), poolConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pool.Close()
		config.Database = "postgres"
		if conn, err := pgx.ConnectConfig(context.Background(), config); err == nil {
			_, _ = conn.Exec(context.Background(), fmt.Sprintf(`DROP DATABASE %s_earlier`, name)) // the cluster is thrown away
			_ = conn.Close(context.Background())                                                  // so is this
		}
	})
	return &pgtest.DB{Pool: pool}
}

// A database that goes back to an earlier state is noticed, and only the buckets are fetched again in which
// the device had applied what is no more.
func TestHistoryGoesBack(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'a'), ('7', 'b'), ('7', 'c'), ('7', 'd')`)
	exec(t, db, `INSERT INTO app.item (id, buckets) SELECT g, ARRAY[chr(96 + g)] FROM generate_series(1, 4) AS g`)
	exec(t, db, `INSERT INTO app.item (id, buckets) VALUES (5, '{a,b}'), (6, '{b}')`)
	d := device(db, "7", "phone")
	synced(t, db, d, "7")
	exec(t, db, `UPDATE app.item SET n = 1 WHERE id = 1`)
	synced(t, db, d, "7")
	restored := earlier(t, db)
	// What is lost: it changed b, made a row of d, and moved one from a to b.
	exec(t, db, `UPDATE app.item SET n = 2 WHERE id = 2`)
	exec(t, db, `INSERT INTO app.item (id, buckets) VALUES (9, '{d}')`)
	synced(t, db, d, "7")
	exec(t, db, `UPDATE app.item SET n = 3 WHERE id = 6`)
	synced(t, db, d, "7")

	d.Server.(*cursorserver.SQL).Pool = restored.Pool
	exec(t, restored, `UPDATE app.item SET n = 7 WHERE id IN (2, 3)`)
	exec(t, restored, `SELECT tide.seal()`)
	_, err := d.Server.Pull(t.Context(), d.Cursor, 10)
	if got := refused(t, err); got != "history_changed" {
		t.Fatalf("a pull from what was restored: %q", got)
	}
	if err := d.Reposition(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.Missing(); !slices.Equal(got, []string{"b", "d"}) {
		t.Errorf("to be fetched again: %q", got)
	}
	synced(t, restored, d, "7")
	exec(t, restored, `UPDATE app.item SET n = n + 1, buckets = '{c}'`)
	synced(t, restored, d, "7")
}

// Of a push that was answered and not pulled, the seal alone says whether it is of this history. Where it is not,
// its rows may be in any bucket, wherever the device stands.
func TestSealOfAPush(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'a'), ('7', 'b')`)
	exec(t, db, `INSERT INTO app.item (id, buckets) VALUES (1, '{a}'), (2, '{b}')`)
	d := device(db, "7", "phone")
	synced(t, db, d, "7")
	const seal = `(SELECT h.seal_id || '-' || h.identity FROM tide.head_seal() AS h)`
	exec(t, db, `SELECT tide.assert_history(`+seal+`)`)
	for pushed, want := range map[string]string{"3-4": "TD133", "1-00000000-0000-4000-8000-000000000000": "TD131", "999-00000000-0000-4000-8000-000000000000": "TD131"} {
		_, err := db.Exec(t.Context(), `SELECT tide.assert_history($1)`, pushed)
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != want {
			t.Errorf("%s: %v, want %s", pushed, err, want)
		}
	}
	positions, err := json.Marshal(d.Stands)
	if err != nil {
		t.Fatal(err)
	}
	// A push that no pull has told of. Versions of its rows are later than all positions, and stay.
	exec(t, db, `INSERT INTO app.item (id, buckets) VALUES (3, '{a}')`)
	exec(t, db, `SELECT tide.seal()`)
	for pushed, want := range map[string]string{seal: "4 {}", "'1-00000000-0000-4000-8000-000000000000'": "0 {a,b,user:7}", "NULL": "3 {}"} {
		var got string
		if err := db.QueryRow(t.Context(), `SELECT bundle_id || ' ' || repair::text FROM tide.connect_buckets('7', 'phone', NULL, $1::text::json, `+pushed+`)`, string(positions)).Scan(&got); err != nil || got != want {
			t.Errorf("%s: versions up to, and to be fetched again: %s, want %s (%v)", pushed, got, want, err)
		}
	}
}

// A server that lost the list of a device is told, and nothing is fetched again.
func TestListIsLost(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'a'), ('7', 'b')`)
	exec(t, db, `INSERT INTO app.item (id, buckets) SELECT g, ARRAY[chr(96 + g)] FROM generate_series(1, 3) AS g`)
	d := device(db, "7", "phone")
	synced(t, db, d, "7")
	exec(t, db, `UPDATE app.item SET n = 1 WHERE id = 1`)
	synced(t, db, d, "7")
	exec(t, db, `TRUNCATE tide.source_buckets`)
	exec(t, db, `UPDATE app.item SET n = 2`)
	exec(t, db, `SELECT tide.seal()`)
	_, err := d.Server.Pull(t.Context(), d.Cursor, 10)
	if got := refused(t, err); got != "bucket_list_needed" {
		t.Fatalf("a pull without a list: %q", got)
	}
	if err := d.Reposition(t.Context()); err != nil || len(d.Missing()) > 0 {
		t.Fatalf("fetched again: %q, %v", d.Missing(), err)
	}
	synced(t, db, d, "7")
}

// A page that begins in a seal which moved rows because of other tables brings all of that seal.
func TestPageHoldsWholeSealOfDerivedRules(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'a')`)
	exec(t, db, `INSERT INTO app.item (id, buckets) VALUES (1, '{a}'), (2, '{z}')`)
	exec(t, db, `INSERT INTO app.comment (id, item_id) VALUES (1, 1), (2, 2)`)
	d := device(db, "7", "phone")
	synced(t, db, d, "7")
	exec(t, db, `UPDATE app.comment SET n = 1`)
	exec(t, db, `UPDATE app.item SET buckets = '{z}' WHERE id = 1`)
	exec(t, db, `UPDATE app.item SET buckets = '{a}' WHERE id = 2`)
	exec(t, db, `UPDATE app.comment SET n = 2`)
	exec(t, db, `SELECT tide.seal()`)
	d.MaxBundles = 1
	if more, err := d.Pull(t.Context()); err != nil || more {
		t.Errorf("a page of one bundle leaves more: %t, %v", more, err)
	}
	holds(t, db, d, "7")
}
