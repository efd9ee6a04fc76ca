package workspacetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// What pgtide says of a row is what the query of each user says of it: who sees it, why, and why not.
func TestExplanationsAreTrue(t *testing.T) {
	t.Parallel()
	db := prepared(t)
	exec(t, db, `UPDATE workspace.document SET deleted_at = now() WHERE title = 'An idea'`)
	exec(t, db, `SELECT tide.seal()`)
	sees := map[string][]string{} // users of each row
	for _, user := range people {
		exec(t, db, `INSERT INTO tide.scope (user_id) VALUES ($1) ON CONFLICT DO NOTHING`, user)
		rows, err := visible(t.Context(), db, user)
		if err != nil {
			t.Fatal(err)
		}
		for id := range rows {
			sees[id] = append(sees[id], user)
		}
	}
	all := one[[]string](t, db, `SELECT array_agg(r) FROM (
		SELECT 'workspace.document' || json_build_object('document_id', document_id)::text FROM workspace.document UNION ALL
		SELECT 'workspace.comment' || json_build_object('comment_id', comment_id)::text FROM workspace.comment UNION ALL
		SELECT 'workspace.folder' || json_build_object('folder_id', folder_id)::text FROM workspace.folder UNION ALL
		SELECT 'workspace.project' || json_build_object('project_id', project_id)::text FROM workspace.project UNION ALL
		SELECT 'workspace.person' || json_build_object('user_id', user_id)::text FROM workspace.person) AS s (r)`)
	seen := 0
	for _, row := range all {
		table, key, _ := strings.Cut(strings.ReplaceAll(row, " : ", ":"), "{")
		key = "{" + key
		want := sees[table+key]
		seen += len(want)
		if got := one[[]string](t, db, `SELECT coalesce(array_agg(DISTINCT user_id ORDER BY user_id), '{}') FROM tide.who_sees($1::text::regclass, $2)`, table, key); !slices.Equal(got, want) {
			t.Errorf("%s is seen by %v, they say by %v", row, want, got)
		}
		buckets := one[[]string](t, db, `SELECT tide.row_buckets($1::text::regclass, $2)`, table, key)
		if got := one[[]string](t, db, `SELECT coalesce(array_agg(DISTINCT bucket_id COLLATE "C" ORDER BY bucket_id COLLATE "C"), '{}') FROM tide.why_bucket($1::text::regclass, $2)`, table, key); !slices.Equal(got, buckets) {
			t.Errorf("%s lies in %v, and why is said of %v", row, buckets, got)
		}
		for _, user := range people {
			said := one[string](t, db, `SELECT tide.why_not($1, $2::text::regclass, $3)`, user, table, key)
			if got := strings.HasPrefix(said, "The user gets it"); got != slices.Contains(want, user) {
				t.Errorf("%s of %s: %s", user, row, said)
			}
		}
	}
	if seen == 0 || seen == len(all)*len(people) {
		t.Errorf("of %d rows %d are seen: nothing was told apart", len(all), seen)
	}
	document := fmt.Sprintf(`{"document_id":"%s"}`, one[string](t, db, `SELECT document_id::text FROM workspace.document WHERE title = 'Salaries'`))
	why := func(bucket string) string {
		return one[string](t, db, `SELECT because FROM tide.why_bucket('workspace.document', $1::text::jsonb) WHERE bucket_id ~ $2`, document, bucket)
	}
	not := func(user, table, key string) string {
		return one[string](t, db, `SELECT tide.why_not($1, $2::text::regclass, $3::text::jsonb)`, user, table, key)
	}
	for what, c := range map[string]struct{ got, want string }{
		"the share that a function found": {why("^viewer:cleo"), "<- workspace.document_share (e0000000-0000-4000-8000-000000000002,cleo,viewer"},
		"the way up":                      {why("^project:"), `workspace.document {"document_id":"e0000000-0000-4000-8000-000000000002"} -> workspace.folder {"folder_id":"d0000000-0000-4000-8000-000000000003"} -> workspace.project {`},
		"other buckets":                   {not("eve", "workspace.document", document), "It is in project:c0000000-0000-4000-8000-000000000002, viewer:cleo; the user may read "},
		"softly deleted":                  {not("ben", "workspace.document", fmt.Sprintf(`{"document_id":"%s"}`, one[string](t, db, `SELECT document_id::text FROM workspace.document WHERE deleted_at IS NOT NULL`))), "It is in no bucket: deleted softly"},
		"no such row":                     {not("ben", "workspace.document", `{"document_id":"e0000000-0000-4000-8000-00000000ffff"}`), "There is no such row."},
		"not registered":                  {not("ben", "pg_class", `{}`), "Table pg_class is not registered."},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%s: %q lacks %q", what, c.got, c.want)
		}
	}
	policies := one[string](t, db, `SELECT string_agg(p, '; ') FROM tide.policies_sql('workspace.document') AS p`)
	for _, part := range []string{"tide_everybody", "tide_client_reads", "tide_client_inserts", "tide_client_updates", "tide_client_deletes", "workspace.edits"} {
		if !strings.Contains(policies, part) {
			t.Errorf("policies_sql lacks %s: %s", part, policies)
		}
	}
	// Run again, it changes nothing.
	const written = `SELECT array_agg(concat_ws(' ', polrelid::regclass, polname, polcmd, polpermissive, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) ORDER BY polrelid, polname) FROM pg_policy`
	before := one[[]string](t, db, written)
	exec(t, db, `SELECT tide.enable_rls(s.relation, write => s.rls_write) FROM tide.synced_table AS s WHERE s.rls_write IS NOT NULL AND s.synced`)
	if after := one[[]string](t, db, written); !slices.Equal(before, after) {
		t.Errorf("run again, tide.enable_rls makes\n%s\nof\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
}

func one[T any](t testing.TB, db *pgtest.DB, query string, args ...any) (v T) {
	t.Helper()
	if err := db.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}
