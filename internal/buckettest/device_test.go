package buckettest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// device holds some buckets: what the log gave since its position, or a snapshot where the log begins later.
type device struct {
	db      *pgtest.DB
	buckets []string
	at      int64
	rows    map[string]string
	deleted []string // rows that the last sync deleted
	fetched int      // snapshots taken
}

func newDevice(db *pgtest.DB, buckets ...string) *device {
	return &device{db: db, buckets: buckets, rows: map[string]string{}}
}

// expect seals, brings the device up to date, and compares its rows ("comment 1", in any order) with
// those wanted, and with what a device would get that connects now.
func (d *device) expect(t *testing.T, want ...string) {
	t.Helper()
	err := pgx.BeginTxFunc(t.Context(), d.db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		for more := true; more; {
			if err := tx.QueryRow(t.Context(), `SELECT (SELECT cut_change_id IS NOT NULL FROM tide.seal_log WHERE seal_id = (SELECT max(seal_id) FROM tide.seal_log)) FROM tide.seal()`).Scan(&more); err != nil {
				return err
			}
		}
		return d.catchUp(t, tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(d.rows)); !slices.Equal(got, want) {
		t.Errorf("a device with %q holds %q, want %q", d.buckets, got, want)
	}
}

func (d *device) catchUp(t *testing.T, tx pgx.Tx) error {
	t.Helper()
	fresh := map[string]string{}
	if err := collect(t, tx, fresh, nil, `
		SELECT s.table_name, q.key, 'UPDATE', q.payload
		  FROM tide.synced_table AS s CROSS JOIN unnest($1::text[]) AS b
		 CROSS JOIN LATERAL (SELECT tide.snapshot_source(s.table_id, b) AS query) AS o
		 CROSS JOIN LATERAL query_to_xml(o.query, false, false, '') AS x
		 CROSS JOIN LATERAL xmltable('/table/row' PASSING x COLUMNS key json PATH 'row_key', payload json PATH 'payload') AS q
		 WHERE s.synced AND s.unregistered_at IS NULL`, d.buckets); err != nil {
		return err
	}
	var lost bool
	var head int64
	if err := tx.QueryRow(t.Context(), `SELECT tide.head(), EXISTS (SELECT FROM tide.bucket_floor WHERE bucket_id = ANY ($1) AND floor_bundle_id > $2 AND reason <> 'born')`,
		d.buckets, d.at).Scan(&head, &lost); err != nil {
		return err
	}
	d.deleted = nil
	if lost {
		d.rows = maps.Clone(fresh)
		d.fetched++
	} else if err := collect(t, tx, d.rows, &d.deleted, `SELECT table_name, key, op, payload FROM tide.pull($1::text[], $2)`, d.buckets, d.at); err != nil {
		return err
	}
	d.at = head
	if !maps.Equal(d.rows, fresh) {
		t.Errorf("a device with %q holds %q, a new one gets %q", d.buckets, d.rows, fresh)
	}
	return nil
}

func collect(t *testing.T, tx pgx.Tx, into map[string]string, deleted *[]string, query string, args ...any) error {
	rows, err := tx.Query(t.Context(), `SELECT q.table_name, ARRAY(SELECT k.value FROM json_each_text(q.key) AS k), q.op, q.payload::text FROM (`+query+`) AS q (table_name, key, op, payload)`, args...)
	if err != nil {
		return err
	}
	var table, op string
	var key []string
	var payload *string
	_, err = pgx.ForEachRow(rows, []any{&table, &key, &op, &payload}, func() error {
		row := table + " " + strings.Join(key, ",")
		if op == "DELETE" {
			delete(into, row)
			*deleted = append(*deleted, row)
		} else {
			into[row] = *payload
		}
		return nil
	})
	return err
}
