package logtest

import (
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Of a transaction that was captured in part, because capture failed amid it, no device is shown that part:
// the seal that has it resets the buckets of its table.
func TestATransactionThatWasCapturedInPart(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `CREATE SCHEMA app; CREATE TABLE app.doc (id int PRIMARY KEY, owner text NOT NULL)`,
		`CREATE FUNCTION app.f(d app.doc) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
			BEGIN
			    IF current_setting('app.broken', true) = 'yes' THEN RAISE 'broken'; END IF;
			    RETURN d.owner;
			END $$`,
		`GRANT USAGE ON SCHEMA app TO tide_owner`, `INSERT INTO app.doc VALUES (1, 'ann'), (2, 'bob'), (3, 'eve'), (4, 'zoe')`,
		`SELECT tide.register_table('app.doc', bucket_function => 'app.f', on_capture_error => 'mark_dirty')`)
	held := newFold(t, db)
	// bob is its owner at no commit, and zoe's row is nobody's concern.
	exec(t, db, `BEGIN; UPDATE app.doc SET owner = 'bob' WHERE id = 1; SET LOCAL app.broken = 'yes'; UPDATE app.doc SET owner = 'eve' WHERE id = 1; COMMIT`)
	if got := value[int](t, db, `SELECT count(*) FROM tide.change_log WHERE op = 'U'`); got != 1 {
		t.Fatalf("%d changes were captured, want the first of two", got)
	}
	// Also not between the steps of a long seal.
	exec(t, db, `INSERT INTO app.doc VALUES (5, 'zoe')`, `UPDATE tide.setting SET seal_max_changes = 1`)
	for inProgress := true; inProgress; inProgress = value[bool](t, db, `SELECT seal_in_progress FROM tide.lag`) {
		exec(t, db, `SELECT tide.seal()`)
		none(t, db, "bundles that show what was captured", `SELECT p.bundle_id FROM unnest(ARRAY['ann', 'bob', 'eve']) AS b (bucket_id)
			CROSS JOIN LATERAL tide.bucket_position(b.bucket_id) AS n CROSS JOIN LATERAL tide.pull(b.bucket_id, n.floor_seq) AS p`)
	}
	for _, bucket := range []string{"ann", "bob", "eve"} {
		if floor := value[int64](t, db, `SELECT floor_seq FROM tide.bucket_position($1)`, bucket); floor <= held.buckets[bucket].position {
			t.Errorf("bucket %s goes on from %d, and its device from %d", bucket, floor, held.buckets[bucket].position)
		}
	}
	exec(t, db, `UPDATE app.doc SET owner = 'ann' WHERE id = 4`)
	held.check(t)
}
