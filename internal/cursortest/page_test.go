package cursortest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// A page is as many whole bundles as its bounds allow, at least one; a bundle counts once and with all its rows that the
// device gets, in however many buckets they are, and it ends where the log was read to if all of that fits.
func TestAPageIsAsManyWholeBundlesAsFit(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		CREATE TABLE app.note (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner_id bigint NOT NULL, body text);
		SELECT tide.register_table('app.note', owner_column => 'owner_id')`)
	// Bundles of one to four of six buckets, of very different length.
	exec(t, db, `DO $$ BEGIN
		FOR i IN 1 .. 60 LOOP
			INSERT INTO app.note (owner_id, body) SELECT 1 + (i * 7 + g * g) % 6, repeat('x', (i * i * 31) % 997) FROM generate_series(0, i % 4) AS g;
			COMMIT;
		END LOOP; END $$`)
	exec(t, db, `SELECT tide.seal()`)

	type part struct {
		BundleID int64
		BucketID string
		Bytes    int64
	}
	rows, err := db.Query(t.Context(), `SELECT bundle_id, bucket_id::text, byte_count FROM tide.bundle_log ORDER BY bundle_id, bucket_id`)
	if err != nil {
		t.Fatal(err)
	}
	log, err := pgx.CollectRows(rows, pgx.RowToStructByPos[part])
	if err != nil {
		t.Fatal(err)
	}
	first, last := log[0].BundleID, log[len(log)-1].BundleID

	// want is the page by what it is meant to be: what is for the device, bundle by bundle.
	want := func(counted map[string]int64, after, maxBundles, maxBytes int64) (end int64, ids []int64, buckets []string) {
		var bundles [][]part
		for _, p := range log {
			held, reads := counted[p.BucketID]
			switch {
			case !reads || p.BundleID <= max(held, after):
			case len(bundles) > 0 && bundles[len(bundles)-1][0].BundleID == p.BundleID:
				bundles[len(bundles)-1] = append(bundles[len(bundles)-1], p)
			default:
				bundles = append(bundles, []part{p})
			}
		}
		var bytes int64
		for n, b := range bundles {
			for _, p := range b {
				bytes += p.Bytes
			}
			if n > 0 && (int64(n) == maxBundles || bytes > maxBytes) {
				return end, ids, buckets
			}
			end = b[0].BundleID
			for _, p := range b {
				ids, buckets = append(ids, p.BundleID), append(buckets, p.BucketID)
			}
		}
		return last, ids, buckets
	}
	many := map[string]int64{"user:2": first + 20, "user:5": first + 100}
	for i := range 20 {
		many[fmt.Sprintf("team:%d", i)] = 0 // so many that the log is read on, not looked into
	}
	for _, counted := range []map[string]int64{{"user:1": 0}, {"user:1": 0, "user:2": first + 10, "user:3": 0, "user:6": last}, many, {"team:1": 0}} {
		for _, maxBundles := range []int64{1, 2, 7, 1000} {
			for _, maxBytes := range []int64{1, 500, 3000, 1 << 30} {
				for after := first - 1; after < last; {
					var end int64
					var ids []int64
					var buckets []string
					err := db.QueryRow(t.Context(), `SELECT last_bundle_id, coalesce(bundle_ids, '{}'), coalesce(bucket_ids, '{}') FROM tide.pull_page($1, $2, $3, $4, $5)`, counted, after, last, maxBundles, maxBytes).
						Scan(&end, &ids, &buckets)
					if err != nil {
						t.Fatal(err)
					}
					wantEnd, wantIDs, wantBuckets := want(counted, after, maxBundles, maxBytes)
					if end != wantEnd || !slices.Equal(pairs(ids, buckets), pairs(wantIDs, wantBuckets)) {
						t.Fatalf("%v after %d, %d bundles, %d bytes: %d with %v, want %d with %v", counted, after, maxBundles, maxBytes, end, pairs(ids, buckets), wantEnd, pairs(wantIDs, wantBuckets))
					}
					after = end
				}
			}
		}
	}
}

// pairs are the parts of a page, sorted.
func pairs(ids []int64, buckets []string) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = fmt.Sprintf("%d %s", id, buckets[i])
	}
	slices.Sort(all)
	return all
}
