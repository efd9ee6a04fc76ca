package buckettest

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// A row lies in a thousand buckets at most. Where its own rule gives more, the write is refused, and
// nothing of it is left.
func TestBoundOfBucketsAtCapture(t *testing.T) {
	t.Parallel()
	db := newApp(t, `
		CREATE TABLE item (id int PRIMARY KEY, n int);
		CREATE FUNCTION item_buckets(i item) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$ SELECT array_agg('b' || g) FROM generate_series(1, i.n) AS g $$;
		SELECT tide.register_table('item', bucket_function => 'app.item_buckets')`, `SELECT tide.seal()`,
		`INSERT INTO item VALUES (1, 1000)`, `SELECT tide.seal()`)
	newDevice(db, "b1000").expect(t, "item 1")
	state := func() (all string) {
		if err := db.QueryRow(t.Context(), `SELECT concat_ws('; ', (SELECT string_agg(i::text, ' ' ORDER BY i.id) FROM item AS i), (SELECT count(*) FROM tide.change_log), tide.seal(), (SELECT count(*) FROM tide.bucket_failures))`).Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := state()
	for _, statement := range []string{`INSERT INTO item VALUES (2, 3), (3, 1001)`, `UPDATE item SET n = 1001`, `COPY item FROM PROGRAM 'echo 4,1001' CSV`} {
		_, err := db.Exec(t.Context(), statement)
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "TD013" || refused.Detail != "It returned 1001, at most 1000 are allowed." || refused.Hint == "" {
			t.Errorf("%s: %+v", statement, err)
		}
		if after := state(); after != before {
			t.Errorf("%s: %s became %s", statement, before, after)
		}
	}
}

// Where other tables give more, nobody's write is refused: the row, and what hangs on it, is in no bucket
// and among the failures, all else of the same transaction is sealed, and fewer buckets mend it.
func TestBoundOfBucketsAtSealing(t *testing.T) {
	t.Parallel()
	db := newApp(t, `
		CREATE TABLE doc (id int PRIMARY KEY, owner text);
		CREATE TABLE share (doc_id int, who text, PRIMARY KEY (doc_id, who));
		CREATE TABLE page (id int PRIMARY KEY, doc_id int); CREATE INDEX ON page (doc_id);
		CREATE TABLE line (id int PRIMARY KEY, page_id int); CREATE INDEX ON line (page_id);
		CREATE FUNCTION doc_buckets(d doc) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT array_agg('user:' || s.who) FROM app.share AS s WHERE s.doc_id = d.id $$;
		CREATE FUNCTION page_buckets(p page) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN p.id > 10 THEN '{extra}'::text[] END $$;
		SELECT tide.register_table('doc', bucket_function => 'app.doc_buckets');
		SELECT tide.add_bucket_dependency('doc', on_table => 'share', columns => 'doc_id', table_columns => 'id');
		SELECT tide.register_table('page', parent => 'doc', parent_fk => 'doc_id', bucket_function => 'app.page_buckets');
		SELECT tide.register_table('line', parent => 'page', parent_fk => 'page_id')`, `SELECT tide.seal()`,
		`INSERT INTO doc VALUES (1, 'ann'), (2, 'ann'); INSERT INTO page VALUES (1, 1), (2, 2), (11, 1); INSERT INTO share VALUES (1, 'ann'), (2, 'ann');
		INSERT INTO line VALUES (1, 1), (2, 1), (3, 2), (4, 2), (5, 11), (6, 11)`)
	ann, bob, extra := newDevice(db, "user:ann"), newDevice(db, "user:bob"), newDevice(db, "extra")
	ann.expect(t, "doc 1", "doc 2", "page 1", "page 2", "page 11", "line 1", "line 2", "line 3", "line 4", "line 5", "line 6")
	extra.expect(t, "page 11", "line 5", "line 6")
	failed := func(want ...string) {
		t.Helper()
		var got []string
		if err := db.QueryRow(t.Context(), `SELECT coalesce(array_agg(format('%s %s %s', f.relation, f.key ->> 'id', substring(f.error FROM '\(TD013\)$')) ORDER BY f.relation::text, f.key ->> 'id'), '{}') FROM tide.bucket_failures AS f`).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("failed: %q, want %q", got, want)
		}
	}

	// A thousand is allowed; the page that has one of its own besides has too many.
	exec(t, db, `INSERT INTO share SELECT 1, 'person ' || g FROM generate_series(1, 999) AS g; INSERT INTO share VALUES (2, 'bob')`)
	ann.expect(t, "doc 1", "doc 2", "page 1", "page 2", "line 1", "line 2", "line 3", "line 4")
	bob.expect(t, "doc 2", "page 2", "line 3", "line 4")
	extra.expect(t)
	newDevice(db, "user:person 999").expect(t, "doc 1", "page 1", "line 1", "line 2")
	failed("line 5 (TD013)", "line 6 (TD013)", "page 11 (TD013)")

	exec(t, db, `INSERT INTO share VALUES (1, 'one too many'); UPDATE doc SET owner = 'bob'; INSERT INTO page VALUES (3, 1), (4, 2); INSERT INTO line VALUES (7, 3), (8, 4); DELETE FROM line WHERE id = 2`)
	ann.expect(t, "doc 2", "page 2", "page 4", "line 3", "line 4", "line 8")
	bob.expect(t, "doc 2", "page 2", "page 4", "line 3", "line 4", "line 8")
	newDevice(db, "user:person 999").expect(t)
	failed("doc 1 (TD013)", "line 1 (TD013)", "line 5 (TD013)", "line 6 (TD013)", "line 7 (TD013)", "page 1 (TD013)", "page 11 (TD013)", "page 3 (TD013)")

	exec(t, db, `DELETE FROM share WHERE who LIKE 'person 9%' OR who = 'one too many'`)
	ann.expect(t, "doc 1", "doc 2", "page 1", "page 2", "page 3", "page 4", "page 11", "line 1", "line 3", "line 4", "line 5", "line 6", "line 7", "line 8")
	extra.expect(t, "page 11", "line 5", "line 6")
	noFailures(t, db)
}
