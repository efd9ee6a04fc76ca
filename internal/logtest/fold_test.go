package logtest

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// fold follows every bucket of a database: what the log says devices hold, to be held against what
// the tables hold now by the rules of their registration.
type fold struct {
	db      *pgtest.DB
	buckets map[string]*replica
}

// newFold begins after a seal, with what the tables hold.
func newFold(t *testing.T, db *pgtest.DB) *fold {
	t.Helper()
	seal(t, db)
	f := &fold{db: db, buckets: map[string]*replica{}}
	for bucket, held := range tableRows(t, db) {
		f.buckets[bucket] = &replica{bucket: bucket, rows: held}
		if err := db.QueryRow(t.Context(), `SELECT head_seq FROM tide.bucket_position($1)`, bucket).Scan(&f.buckets[bucket].position); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// check seals, reads on in every bucket, and compares. A bucket that was reset is taken from the tables anew.
func (f *fold) check(t *testing.T) {
	t.Helper()
	seal(t, f.db)
	want := tableRows(t, f.db)
	for _, bucket := range value[[]string](t, f.db, `SELECT coalesce(array_agg(bucket_id ORDER BY bucket_id), '{}') FROM tide.buckets`) {
		r, known := f.buckets[bucket]
		if !known {
			r = &replica{bucket: bucket, rows: rows{}}
			f.buckets[bucket] = r
		}
		if floor := value[int64](t, f.db, `SELECT floor_seq FROM tide.bucket_position($1)`, bucket); r.position < floor {
			r.rows, r.position = want[bucket], value[int64](t, f.db, `SELECT head_seq FROM tide.bucket_position($1)`, bucket)
			if r.rows == nil {
				r.rows = rows{}
			}
			continue
		}
		if err := r.pull(context.Background(), f.db.Pool, 1+len(bucket)*3); err != nil {
			t.Errorf("bucket %s: %v", bucket, err)
		}
		same(t, "bucket "+bucket, r.rows, want[bucket])
	}
	for bucket := range want {
		if _, known := f.buckets[bucket]; !known {
			t.Errorf("bucket %s holds rows and is not in tide.buckets", bucket)
		}
	}
	checkLog(t, f.db)
}

// tableRows reads every registered table by its rule: bucket to rows.
func tableRows(t *testing.T, db *pgtest.DB) map[string]rows {
	t.Helper()
	result, err := db.Query(t.Context(), `
		SELECT a.bucket_id, s.table_schema || '.' || s.table_name, a.row_key, a.payload::text, coalesce(a.error, '')
		  FROM tide.tables AS s CROSS JOIN LATERAL tide.adoption(ARRAY[s.table_id], ARRAY['A']) AS a`)
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]rows{}
	var bucket, table, key, payload *string
	var problem string
	if _, err := pgx.ForEachRow(result, []any{&bucket, &table, &key, &payload, &problem}, func() error {
		if problem != "" {
			return fmt.Errorf("read %s: %s", *table, problem)
		}
		if held[*bucket] == nil {
			held[*bucket] = rows{}
		}
		if key != nil {
			held[*bucket][*table+*key] = *payload
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return held
}

// changesOf returns what the newest bundles say, one line a change: bucket op table key.
func changesOf(t *testing.T, db *pgtest.DB, afterBundleID int64) []string {
	t.Helper()
	result, err := db.Query(t.Context(), `
		SELECT format('%s %s %s %s', bucket_id, op, table_name, (SELECT string_agg(k.value, ',') FROM json_each_text(key) AS k))
		  FROM tide.changes WHERE bundle_id > $1 ORDER BY bundle_id, bucket_id, row_ordinal`, afterBundleID)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(result, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
