package buckettest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// What a user reads through the policies is what his devices hold, and the application reads everything.
func TestPoliciesShowWhatTheBucketsHold(t *testing.T) {
	t.Parallel()
	db := newSite(t)
	random := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		if err := write(t.Context(), db, random); err != nil && !passing(err) {
			t.Fatal(err)
		}
	}
	must(t, db, `
		CREATE FUNCTION app.user_buckets(user_id text) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT ARRAY['user:' || user_id, 'org:' || user_id, 'global'] $$;
		SELECT tide.set_bucket_access('app.user_buckets');
		SELECT tide.enable_rls(r) FROM unnest('{project,folder,doc,comment,paper}'::regclass[]) AS r;
		GRANT USAGE ON SCHEMA app TO tide_client; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO tide_client`)
	const seen = `SELECT coalesce(array_agg(x ORDER BY x), '{}') FROM (SELECT 'project ' || id FROM project UNION ALL SELECT 'folder ' || id FROM folder UNION ALL SELECT 'doc ' || id FROM doc
		UNION ALL SELECT 'comment ' || id FROM comment UNION ALL SELECT 'paper ' || id FROM paper) AS s (x)`
	total := 0
	for _, user := range []string{"ann", "bob", "cid", "dan", ""} {
		var want, got []string
		if err := db.QueryRow(t.Context(), `SELECT coalesce(array_agg(DISTINCT tab || ' ' || id ORDER BY tab || ' ' || id), '{}') FROM (`+oracle+`) AS o
			WHERE $1 <> '' AND bucket IN ('user:' || $1, 'org:' || $1, 'global')`, user).Scan(&want); err != nil {
			t.Fatal(err)
		}
		as(t, db, user, func(tx pgx.Tx) {
			if err := tx.QueryRow(t.Context(), seen).Scan(&got); err != nil {
				t.Fatal(err)
			}
		})
		if !slices.Equal(got, want) {
			t.Errorf("user %q reads\n\t%v, his devices hold\n\t%v", user, got, want)
		}
		total += len(got)
	}
	if total == 0 {
		t.Error("nobody reads anything: nothing was tried")
	}
	var all, unseen int
	if err := db.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE deleted_at IS NOT NULL) FROM doc`).Scan(&all, &unseen); err != nil || unseen == 0 {
		t.Errorf("the application reads %d documents, %d deleted softly: %v", all, unseen, err)
	}
}

// What policies ask answers the client role about buckets of its user alone, whatever row and list it makes up.
func TestPoliciesTellNothingOfOthers(t *testing.T) {
	t.Parallel()
	db := newSite(t)
	must(t, db, `
		INSERT INTO project VALUES (1, 'ann', 'hers'), (2, 'bob', 'his');
		INSERT INTO folder (id, project_id, title) VALUES (1, 1, 'hers'), (2, 2, 'his');
		SELECT tide.enable_rls('folder');
		GRANT USAGE ON SCHEMA app TO tide_client`)
	var asks string
	if err := db.QueryRow(t.Context(), `SELECT format('tide.reads_%s(jsonb_populate_record(NULL::app.folder, jsonb_build_object(''id'', 99, ''project_id'', $1::int)), $2, $3)', table_id) FROM tide.synced_table WHERE relation = 'folder'::regclass`).Scan(&asks); err != nil {
		t.Fatal(err)
	}
	ask := func(tx pgx.Tx, project int, mine, in []string) (answer bool) {
		t.Helper()
		if err := tx.QueryRow(t.Context(), `SELECT `+asks, project, mine, in).Scan(&answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	var proven []string
	as(t, db, "ann", func(tx pgx.Tx) {
		if err := tx.QueryRow(t.Context(), `SELECT tide.my_proven_buckets()`).Scan(&proven); err != nil {
			t.Fatal(err)
		}
		forged := append([]string{"user:bob"}, proven...)
		for name, c := range map[string]struct {
			project  int
			mine, in []string
			want     bool
		}{
			"hers":                        {1, proven, nil, true},
			"hers among those of others":  {1, proven, []string{"user:bob", "user:ann"}, true},
			"hers in a bucket of others":  {1, proven, []string{"user:bob"}, false},
			"his":                         {2, proven, nil, false},
			"his in his bucket":           {2, proven, []string{"user:bob"}, false},
			"his in a list without proof": {2, []string{"user:bob"}, nil, false},
			"his in a list put together":  {2, forged, nil, false},
			"his in no list":              {2, nil, []string{"user:bob"}, false},
			"his in an empty list":        {2, []string{}, nil, false},
		} {
			if got := ask(tx, c.project, c.mine, c.in); got != c.want {
				t.Errorf("%s: %t", name, got)
			}
		}
		if _, err := tx.Exec(t.Context(), `SAVEPOINT s`); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `SELECT tide.buckets_proof('{user:bob}')`); err == nil {
			t.Error("the client role makes proofs")
		}
		if _, err := tx.Exec(t.Context(), `ROLLBACK TO s`); err != nil {
			t.Fatal(err)
		}
	})
	// What was kept tells nothing later, when it may not be his any more.
	as(t, db, "ann", func(tx pgx.Tx) {
		if ask(tx, 1, proven, nil) {
			t.Error("a list of an earlier transaction counts")
		}
	})
}

// Who may read need not be allowed to write; nobody writes a row in another's name.
func TestPoliciesOfWriting(t *testing.T) {
	t.Parallel()
	db := newSite(t)
	must(t, db, `
		INSERT INTO project VALUES (1, 'ann'), (2, 'bob'); INSERT INTO folder VALUES (1, NULL, 1), (2, NULL, 2);
		INSERT INTO doc VALUES (1, 1, 'bob', 'x'), (2, 2, 'bob', 'y');
		CREATE FUNCTION app.may_edit(user_id text, d app.doc) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT d.title <> 'locked' $$;
		SELECT tide.enable_rls('project', write => 'none'); SELECT tide.enable_rls('folder'); SELECT tide.enable_rls('doc', write => 'app.may_edit');
		GRANT USAGE ON SCHEMA app TO tide_client; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO tide_client`)
	for _, c := range []struct {
		user, statement string
		rows            int64
		refused         bool
	}{
		{"ann", `UPDATE project SET title = 'mine' WHERE id = 1`, 0, false},
		{"ann", `INSERT INTO project VALUES (3, 'ann')`, 0, true},
		{"ann", `UPDATE folder SET title = 'mine'`, 1, false},
		{"ann", `UPDATE folder SET project_id = 2 WHERE id = 1`, 0, true},
		{"ann", `UPDATE doc SET title = 'shared with me by its folder' WHERE id = 1`, 1, false},
		{"ann", `UPDATE doc SET title = 'locked' WHERE id = 1`, 0, true},
		{"ann", `INSERT INTO doc VALUES (3, 1, 'ann', 'z')`, 1, false},
		{"ann", `INSERT INTO doc VALUES (4, 1, 'bob', 'in his name')`, 0, true},
		{"ann", `DELETE FROM doc`, 1, false},
		{"bob", `DELETE FROM doc`, 2, false},
		{"", `DELETE FROM doc`, 0, false},
	} {
		as(t, db, c.user, func(tx pgx.Tx) {
			tag, err := tx.Exec(t.Context(), c.statement)
			var refused *pgconn.PgError
			switch {
			case c.refused && (!errors.As(err, &refused) || refused.Code != "42501"):
				t.Errorf("%s: %s: %v, %d rows, expected to be refused", c.user, c.statement, err, tag.RowsAffected())
			case !c.refused && (err != nil || tag.RowsAffected() != c.rows):
				t.Errorf("%s: %s: %v, %d rows, expected %d", c.user, c.statement, err, tag.RowsAffected(), c.rows)
			}
		})
	}
}

func TestPoliciesOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	db := newSite(t)
	must(t, db, `ALTER TABLE doc ENABLE ROW LEVEL SECURITY; CREATE POLICY theirs ON doc USING (author = 'ann')`)
	var refused *pgconn.PgError
	if _, err := db.Exec(t.Context(), `SELECT tide.enable_rls('doc')`); !errors.As(err, &refused) || refused.Code != "TD023" {
		t.Errorf("enable_rls beside policies of the application: %v", err)
	}
	must(t, db, `SELECT tide.enable_rls('folder'); SELECT tide.enable_rls('folder', write => 'none'); SELECT tide.disable_rls('folder')`)
	var left int
	if err := db.QueryRow(t.Context(), `SELECT count(*) + (SELECT count(*) FROM pg_class WHERE oid = 'folder'::regclass AND relrowsecurity) FROM pg_policy WHERE polrelid = 'folder'::regclass`).Scan(&left); err != nil || left != 0 {
		t.Errorf("disable_rls left %d things behind: %v", left, err)
	}
}

// as runs as a request of this user does, and undoes it.
func as(t *testing.T, db *pgtest.DB, user string, f func(tx pgx.Tx)) {
	t.Helper()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }() // nothing is to stay
	if _, err := tx.Exec(t.Context(), `SELECT set_config('app.user_id', $1, true), set_config('role', 'tide_client', true)`, user); err != nil {
		t.Fatal(err)
	}
	f(tx)
}

func must(t *testing.T, db *pgtest.DB, statements string) {
	t.Helper()
	if _, err := db.Exec(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
}
