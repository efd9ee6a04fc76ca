package cursortest

import (
	"errors"
	"testing"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
)

// The same over HTTP: in pages and lines, in chunks and streams.
func TestDeviceFollowsOverHTTP(t *testing.T) {
	t.Parallel()
	db := setup(t)
	web := front(t, db)
	exec(t, db, `
		INSERT INTO app.access VALUES ('7', 'a'), ('7', 'b');
		INSERT INTO app.item (id, buckets) SELECT g, ARRAY[chr(97 + g % 3)] FROM generate_series(1, 50) AS g`)
	devices := []*cursorclient.Device{
		cursorclient.New(cursorserver.OverHTTP(web, "7", "chunks", 7, false)),
		cursorclient.New(cursorserver.OverHTTP(web, "7", "stream", 0, true)),
		device(db, "7", "sql"),
	}
	devices[0].MaxBundles = 2
	for _, statement := range []string{
		`SELECT`,
		`UPDATE app.item SET n = n + 1, buckets = ARRAY[chr(97 + (id + 1) % 3)] WHERE id % 2 = 0`,
		`INSERT INTO app.access VALUES ('7', 'c')`,
		`UPDATE app.item SET buckets = '{b,c}', n = n + 1 WHERE id % 5 = 0`,
		`DELETE FROM app.access WHERE bucket = 'b'`,
		`DELETE FROM app.item WHERE id % 7 = 0`,
	} {
		exec(t, db, statement)
		for range 3 {
			exec(t, db, `UPDATE app.item SET n = n + 1 WHERE id % 11 = 0`)
		}
		for _, d := range devices {
			synced(t, db, d, "7")
		}
		if t.Failed() {
			t.Fatalf("after %s", statement)
		}
	}
}

// refused is the code of a refusal, "" for none.
func refused(t testing.TB, err error) string {
	t.Helper()
	var refusal *cursorclient.Refusal
	if err != nil && !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	if err == nil {
		return ""
	}
	return refusal.Code
}
