package buckettest

import (
	"fmt"
	"testing"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/sealer"
)

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

// After more changes than are followed one by one, tables are judged as a whole: buckets are what the rules say,
// and devices that know them fetch them anew. In one seal, and in the last step of a long one.
func TestMoreChangesThanAreFollowed(t *testing.T) {
	t.Parallel()
	for name, setting := range map[string]string{"one seal": "seal_max_judged = 30", "a long seal": "seal_max_judged = 30, seal_max_changes = 20"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newSite(t)
			exec(t, db,
				`CREATE FUNCTION app.reads(user_id text) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT ARRAY['user:' || user_id] $$`,
				`SELECT tide.set_bucket_access('app.reads')`,
				`INSERT INTO project VALUES (1, 'ann', 'a'), (2, 'bob', 'b')`,
				`INSERT INTO folder (id, project_id) VALUES (1, 1), (2, 2)`,
				`INSERT INTO doc (id, folder_id, author) SELECT g, 1 + g % 2, 'dan' FROM generate_series(1, 25) AS g`,
				`SELECT tide.seal()`,
				`UPDATE tide.setting SET `+setting)
			phone := cursorclient.New(&cursorserver.SQL{Pool: db.Pool, User: "ann", Source: "phone"})
			holds := func(d *cursorclient.Device, when string) {
				t.Helper()
				if err := d.Sync(t.Context()); err != nil {
					t.Fatalf("%s: %v", when, err)
				}
				var want int
				if err := db.QueryRow(t.Context(), `SELECT count(*) FROM (`+oracle+`) AS o WHERE bucket = 'user:ann'`).Scan(&want); err != nil {
					t.Fatal(err)
				}
				if len(d.Rows) != want || want == 0 {
					t.Errorf("%s: the device holds %d rows, want %d", when, len(d.Rows), want)
				}
			}
			holds(phone, "before")
			for i := range 5 {
				exec(t, db, fmt.Sprintf(`UPDATE doc SET folder_id = 1 + (id + %d) %% 2 WHERE id %% 3 = %d`, i, i%3),
					fmt.Sprintf(`INSERT INTO doc (id, folder_id, author) SELECT g, 1, 'dan' FROM generate_series(%d, %d) AS g`, 100+5*i, 104+5*i))
			}
			// A device that comes now is told of a snapshot that foretells what the seal makes of it.
			tablet := cursorclient.New(&cursorserver.SQL{Pool: db.Pool, User: "ann", Source: "tablet"})
			if setting == "seal_max_judged = 30" {
				holds(tablet, "a snapshot that seals")
			}
			exec(t, db, `DELETE FROM doc WHERE id < 10`, `UPDATE doc SET folder_id = 2 WHERE id > 100`, `UPDATE doc SET title = 'all'`)
			if _, err := sealer.Seal(t.Context(), db.Pool); err != nil {
				t.Fatal(err)
			}
			holds(phone, "after that")
			holds(tablet, "after that")
			if err := storedAsTheRulesSay(t, db); err != nil {
				t.Error(err)
			}
			var whole int
			if err := db.QueryRow(t.Context(), `SELECT count(*) FROM tide.adoption_log WHERE reason = 'many changes' AND error IS NULL`).Scan(&whole); err != nil || whole == 0 {
				t.Errorf("%d tables were judged as a whole: %v", whole, err)
			}
		})
	}
}

// storedAsTheRulesSay compares stored buckets with what the rules say, for every table.
func storedAsTheRulesSay(t *testing.T, db *pgtest.DB) error {
	t.Helper()
	var wrong int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM tide.synced_table AS s CROSS JOIN LATERAL tide.check_buckets(s.relation) WHERE s.derived`).Scan(&wrong); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("stored buckets of %d rows are not what the rules say", wrong)
	}
	return nil
}
