package logtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// rows is what a device holds: table and key to payload, as text.
type rows map[string]string

// replica is a device that follows one bucket.
type replica struct {
	bucket   string
	position int64
	rows     rows
	bundles  int
	// joining: a table is being adopted, and transactions that wrote to it come before the bundle with its rows.
	joining bool
}

// pull applies what there is after the replica's position, bundle by bundle, and checks what a
// reader may rely on: whole bundles, ascending without gaps, inserts of what is new to it.
func (r *replica) pull(ctx context.Context, pool *pgxpool.Pool, maxBundles int) error {
	for {
		result, err := pool.Query(ctx,
			`SELECT bundle_seq, row_ordinal, table_schema || '.' || table_name, key::text, op, payload::text,
			        bundle_id IN (SELECT b.bundle_id FROM tide.bundles AS b WHERE b.bucket_id = $1 AND b.label = 'adoption')
			   FROM tide.pull($1::text, $2, $3)`,
			r.bucket, r.position, maxBundles)
		if err != nil {
			return err
		}
		// A page counts when it came whole: the server may be killed in the middle of it.
		page, err := pgx.CollectRows(result, pgx.RowToStructByPos[pulledRow])
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		if err := r.take(page); err != nil {
			return err
		}
	}
}

// pulledRow is a row of a bundle.
type pulledRow struct {
	Seq, Ordinal   int64
	Table, Key, Op string
	Payload        *string
	Adoption       bool
}

func (r *replica) take(page []pulledRow) error {
	var expected int64
	for _, row := range page {
		if row.Seq != r.position {
			if row.Seq != r.position+1 {
				return fmt.Errorf("bucket %s: bundle %d follows %d", r.bucket, row.Seq, r.position)
			}
			r.position, expected = row.Seq, 0
			r.bundles++
		}
		if row.Ordinal != expected {
			return fmt.Errorf("bucket %s, bundle %d: row %d where %d was due", r.bucket, row.Seq, row.Ordinal, expected)
		}
		expected++
		id, op := row.Table+row.Key, row.Op
		if row.Adoption {
			// A row that was read: the log does not know who holds it already.
			r.rows[id] = *row.Payload
			continue
		}
		if _, held := r.rows[id]; r.joining && !held && op == "DELETE" {
			continue
		} else if r.joining && !held {
			op = "INSERT"
		}
		if err := r.rows.apply(id, op, row.Payload); err != nil {
			return err
		}
	}
	return nil
}

func (r rows) apply(id, op string, payload *string) error {
	_, held := r[id]
	switch {
	case op == "INSERT" && held, op != "INSERT" && !held:
		return fmt.Errorf("%s of %s, which is held: %t", op, id, held)
	case op == "DELETE":
		delete(r, id)
	case payload == nil:
		return fmt.Errorf("%s of %s without a payload", op, id)
	default:
		r[id] = *payload
	}
	return nil
}

// newReplica is a device at the head of a bucket that holds what the query gives (key, payload).
func newReplica(t *testing.T, db *pgtest.DB, bucket string, table, query string) *replica {
	t.Helper()
	r := &replica{bucket: bucket, rows: query1(t, db, table, query)}
	if err := db.QueryRow(t.Context(), `SELECT head_seq FROM tide.bucket_position($1)`, bucket).Scan(&r.position); err != nil {
		t.Fatal(err)
	}
	return r
}

// query1 returns the rows of a query that gives the key as JSON text and the payload as text.
func query1(t *testing.T, db *pgtest.DB, table, query string) rows {
	t.Helper()
	result, err := db.Query(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	got := rows{}
	var key, payload string
	if _, err := pgx.ForEachRow(result, []any{&key, &payload}, func() error { got[table+key] = payload; return nil }); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return got
}

// same fails the test with the rows that differ.
func same(t *testing.T, what string, got, want rows) {
	t.Helper()
	differing := 0
	keys := slices.Collect(maps.Keys(want))
	for key := range got {
		if _, ok := want[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		g, inGot := got[key]
		w, inWant := want[key]
		if g == w && inGot == inWant {
			continue
		}
		if differing++; differing <= 10 {
			t.Errorf("%s: %s:\n  device   %q (%t)\n  database %q (%t)", what, key, g, inGot, w, inWant)
		}
	}
	if differing > 10 {
		t.Errorf("%s: %d rows differ in all", what, differing)
	}
}

func exec(t *testing.T, db *pgtest.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// seal seals until nothing is left.
func seal(t *testing.T, db *pgtest.DB) int64 {
	t.Helper()
	var last int64
	for inProgress := true; inProgress; {
		if err := db.QueryRow(t.Context(), `SELECT tide.seal()`).Scan(&last); err != nil {
			t.Fatalf("seal: %v", err)
		}
		if err := db.QueryRow(t.Context(), `SELECT seal_in_progress FROM tide.lag`).Scan(&inProgress); err != nil {
			t.Fatalf("look at the newest seal: %v", err)
		}
	}
	return last
}

// value returns the one value of a query.
func value[T any](t *testing.T, db *pgtest.DB, query string, args ...any) T {
	t.Helper()
	var v T
	if err := db.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// none fails the test when the query, which looks for something that must not be, finds it.
func none(t *testing.T, db *pgtest.DB, what, query string) {
	t.Helper()
	result, err := db.Query(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	found, err := pgx.CollectRows(result, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		return fmt.Sprint(values...), err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if len(found) > 0 {
		t.Errorf("%s: %d, the first: %s", what, len(found), found[0])
	}
}

// checkLog holds the log against what must be true of any log.
func checkLog(t *testing.T, db *pgtest.DB) {
	t.Helper()
	none(t, db, "buckets whose bundle_seq has gaps", `
		SELECT b.bucket_id, count(*), min(b.bundle_seq), max(b.bundle_seq)
		  FROM tide.bundle_log AS b GROUP BY b.bucket_id
		HAVING count(*) <> max(b.bundle_seq) - min(b.bundle_seq) + 1
		    OR min(b.bundle_seq) <> (SELECT min(f.floor_seq) + 1 FROM tide.bucket_floor AS f WHERE f.bucket_id = b.bucket_id)`)
	none(t, db, "buckets in which bundle_seq and bundle_id disagree", `
		SELECT * FROM (SELECT bucket_id, bundle_id, lag(bundle_id) OVER (PARTITION BY bucket_id ORDER BY bundle_seq) AS before FROM tide.bundle_log) AS b
		 WHERE b.bundle_id <= b.before`)
	none(t, db, "transactions in several bundles", `
		SELECT xid, array_agg(DISTINCT bundle_id) FROM tide.bundle_log WHERE label IS DISTINCT FROM 'adoption' AND label IS DISTINCT FROM 'reset'
		 GROUP BY xid HAVING count(DISTINCT bundle_id) > 1`)
	none(t, db, "changes listed twice in a bucket", `
		SELECT b.bucket_id, c FROM tide.bundle_log AS b, unnest(b.changes) AS c GROUP BY 1, 2 HAVING count(*) > 1`)
	none(t, db, "committed changes that left no trace though they are in a bucket only after", `
		SELECT c.xid, c.change_id FROM tide.change_log AS c
		 WHERE c.op = 'I' AND cardinality(c.buckets) > 0
		   AND NOT EXISTS (SELECT FROM tide.change_log AS o WHERE o.xid = c.xid AND o.key_hash = c.key_hash AND o.change_id <> c.change_id)
		   AND NOT EXISTS (SELECT FROM tide.bundle_log AS b WHERE b.xid = c.xid AND c.change_id = ANY (b.changes))`)
	none(t, db, "dead rows in the log", `
		SELECT relname, n_dead_tup, n_tup_upd, n_tup_del FROM pg_stat_user_tables
		 WHERE schemaname = 'tide' AND relname ~ '^(bundle|seal)_log' AND n_tup_upd + n_tup_del > 0`)
}
