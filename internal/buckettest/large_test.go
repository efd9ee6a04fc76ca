package buckettest

import "testing"

// A subtree of more rows than are judged at a time moves as one: in one seal, one bundle of each bucket has all of it.
func TestALargeSubtreeMovesWhole(t *testing.T) {
	t.Parallel()
	db := newSite(t)
	const docs = 23_000
	exec(t, db,
		`INSERT INTO project VALUES (1, 'ann', 'large')`,
		`INSERT INTO folder (id, project_id) VALUES (1, 1)`,
		`INSERT INTO folder (id, parent_id) SELECT g, greatest(1, g / 3) FROM generate_series(2, 300) AS g`,
		`INSERT INTO doc (id, folder_id, author) SELECT g, 1 + g % 300, 'dan' FROM generate_series(1, 23000) AS g`,
		`INSERT INTO comment (id, doc_id) SELECT g, g FROM generate_series(1, 500) AS g`,
		`SELECT tide.seal()`,
		`UPDATE project SET owner = 'bob' WHERE id = 1`,
		`SELECT tide.seal()`)
	const rows = 1 + 300 + docs + 500
	for bucket, op := range map[string]string{"user:ann": "D", "user:bob": "I"} {
		var bundles, changes, others int
		if err := db.QueryRow(t.Context(), `SELECT count(DISTINCT b.bundle_id), count(*), count(*) FILTER (WHERE e <> $2::"char")
			  FROM tide.bundle_log AS b CROSS JOIN LATERAL unnest(b.ops) AS e
			 WHERE b.bucket_id = $1 AND b.seal_id = (SELECT max(seal_id) FROM tide.seal_log)`, bucket, op).Scan(&bundles, &changes, &others); err != nil {
			t.Fatal(err)
		}
		if bundles != 1 || changes != rows || others != 0 {
			t.Errorf("%s: %d bundles of %d changes, %d of them not %s; want one of %d", bucket, bundles, changes, others, op, rows)
		}
	}
	for table, want := range map[string]int{"folder": 300, "doc": docs, "comment": 500} {
		var stored, wrong int
		if err := db.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM tide.membership AS m JOIN tide.synced_table AS s USING (table_id) WHERE s.relation = $1::text::regclass AND m.bucket_id = 'user:bob'),
			(SELECT count(*) FROM tide.check_buckets($1::text::regclass))`, table).Scan(&stored, &wrong); err != nil {
			t.Fatal(err)
		}
		if stored != want || wrong != 0 {
			t.Errorf("%s: %d rows are stored in the bucket, want %d; of %d the rule says something else", table, stored, want, wrong)
		}
	}
}
