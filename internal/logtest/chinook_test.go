package logtest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// A database that knows nothing of pgtide: load it, register it, work on it from several sessions,
// compare every bucket with a query, uninstall, and find the schema as it was.
func TestChinook(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	script, err := os.ReadFile("testdata/chinook.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn := db.Connect(t, db.URL)
	must(t, conn, `CREATE SCHEMA chinook`, `SET search_path = chinook`)
	if _, err := conn.Exec(t.Context(), string(script)); err != nil {
		t.Fatal(err)
	}
	before := pgtest.Catalog(t, db, "^(chinook|public)$")
	catalogue := []string{"artist", "album", "genre", "media_type", "track", "playlist", "playlist_track"}
	for _, table := range catalogue {
		exec(t, db, fmt.Sprintf(`SELECT tide.register_table('chinook.%s', bucket => 'global')`, table))
	}
	exec(t, db, `SELECT tide.register_table('chinook.employee', bucket => 'staff')`, `SELECT tide.register_table('chinook.invoice_line', bucket => 'staff')`,
		`SELECT tide.register_table('chinook.customer', owner_column => 'customer_id')`, `SELECT tide.register_table('chinook.invoice', owner_column => 'customer_id')`)
	held := newFold(t, db)

	whileWriting(t, db, `UPDATE chinook.invoice SET total = total + 0.01, customer_id = 1 + ($1 + invoice_id) % 59 WHERE invoice_id % 37 = $1 % 37`, func() {
		for i := range 30 {
			exec(t, db, fmt.Sprintf(`UPDATE chinook.track SET unit_price = unit_price + 0.01 WHERE genre_id = %d`, 1+i%25),
				fmt.Sprintf(`INSERT INTO chinook.playlist_track SELECT playlist_id, %d FROM chinook.playlist ON CONFLICT DO NOTHING`, 1+i*7),
				fmt.Sprintf(`DELETE FROM chinook.playlist_track WHERE track_id = %d`, 3+i*7),
				fmt.Sprintf(`BEGIN; INSERT INTO chinook.artist VALUES (%d, 'new'); INSERT INTO chinook.album VALUES (%[1]d, 'new', %[1]d); UPDATE chinook.album SET title = 'newer' WHERE album_id = %[1]d; COMMIT`, 1000+i),
				fmt.Sprintf(`DELETE FROM chinook.invoice_line WHERE invoice_id = %d; UPDATE chinook.customer SET company = 'c%[1]d' WHERE customer_id = %[1]d`, 1+i),
				fmt.Sprintf(`DELETE FROM chinook.invoice WHERE invoice_id = %d`, 1+i),
				`UPDATE chinook.employee SET reports_to = 1 WHERE employee_id > 1 AND reports_to <> 1 OR employee_id = 8`)
			seal(t, db)
		}
	})
	held.check(t)

	// And against queries that know nothing of pgtide's rules.
	for customer := 1; customer <= 59; customer++ {
		want := query1(t, db, "chinook.customer", fmt.Sprintf(`SELECT '{"customer_id":"' || customer_id || '"}', row_to_json(c)::text FROM chinook.customer AS c WHERE customer_id = %d`, customer))
		for key, payload := range query1(t, db, "chinook.invoice", fmt.Sprintf(`SELECT '{"invoice_id":"' || invoice_id || '"}', row_to_json(i)::text FROM chinook.invoice AS i WHERE customer_id = %d`, customer)) {
			want[key] = payload
		}
		bucket := fmt.Sprintf("user:%d", customer)
		same(t, bucket, held.buckets[bucket].rows, want)
	}
	total := 0
	for _, table := range catalogue {
		total += value[int](t, db, `SELECT count(*) FROM chinook.`+table)
	}
	if got := len(held.buckets["global"].rows); got != total {
		t.Errorf("global holds %d rows, the catalogue %d", got, total)
	}
	if changes := value[int](t, db, `SELECT count(*) FROM tide.changes`); changes < 1000 {
		t.Errorf("only %d changes came through", changes)
	}
	none(t, db, "findings", `SELECT * FROM tide.check()`)

	uninstall(t, db)
	pgtest.SameCatalog(t, "after uninstalling", pgtest.Catalog(t, db, "^(chinook|public)$"), before)
}

// uninstall removes pgtide while no other test depends on the roles being dropped or made.
func uninstall(t *testing.T, db *pgtest.DB) {
	t.Helper()
	db.Reset()
	pgtest.WithInstallLock(t, func() {
		if err := install.Uninstall(t.Context(), db.URL); err != nil && !strings.Contains(err.Error(), "stays") {
			t.Fatal(err)
		}
	})
}
