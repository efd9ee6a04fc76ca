package cursortest

import (
	"testing"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
)

// A user of ten thousand buckets: the cursor is as small as one of a single bucket, what is new in some of
// them comes in one page, one that is taken away or added costs that one alone.
func TestTenThousandBuckets(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access SELECT '7', 'team' || g FROM generate_series(1, 10000) AS g; INSERT INTO app.access VALUES ('8', 'team1')`)
	exec(t, db, `INSERT INTO app.item (id, buckets) SELECT g, ARRAY['team' || g, 'team' || g % 10000 + 1] FROM generate_series(1, 10000) AS g`)
	exec(t, db, `INSERT INTO app.comment (id, item_id) SELECT g, g FROM generate_series(1, 10000, 10) AS g`)
	d, other := cursorclient.New(&cursorserver.SQL{Pool: db.Pool, User: "7", Source: "phone", ChunkRows: 5000}), device(db, "8", "phone")
	synced(t, db, d, "7")
	synced(t, db, other, "8")
	if len(d.Stands) < 10_000 || len(d.Cursor) != len(other.Cursor) {
		t.Errorf("a cursor over %d buckets has %d bytes, one over %d has %d", len(d.Stands), len(d.Cursor), len(other.Stands), len(other.Cursor))
	}
	for i := range 5 {
		exec(t, db, `UPDATE app.item SET n = n + 1 WHERE id % 2000 = 7`)
		if i == 3 {
			exec(t, db, `UPDATE app.item SET buckets = '{team1}' WHERE id = 4007`)
		}
	}
	exec(t, db, `SELECT tide.seal()`)
	page, err := d.Server.Pull(t.Context(), d.Cursor, 1000)
	if err != nil || page.HasMore || len(page.Bundles) != 6 || len(page.Bundles[0].Rows) != 5 {
		t.Fatalf("a page of %d bundles, %v", len(page.Bundles), err)
	}
	synced(t, db, d, "7")
	exec(t, db, `DELETE FROM app.access WHERE user_id = '7' AND bucket = 'team5000'; INSERT INTO app.access VALUES ('7', 'onemore')`)
	exec(t, db, `INSERT INTO app.item (id, buckets) VALUES (0, '{onemore}')`)
	exec(t, db, `SELECT tide.seal()`)
	if page, err = d.Server.Pull(t.Context(), d.Cursor, 1000); err != nil || len(page.Add) != 1 || len(page.Remove) != 1 || len(page.Repair) > 0 {
		t.Fatalf("to add %q, to remove %q, to repair %q, %v", page.Add, page.Remove, page.Repair, err)
	}
	synced(t, db, d, "7")
}
