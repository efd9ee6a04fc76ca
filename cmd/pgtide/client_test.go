package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

// Two devices on the command line: one writes, the other reads, and what is refused is listed.
func TestClient(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	must(t, db, `CREATE SCHEMA app`, `CREATE TABLE app.task (id text PRIMARY KEY, owner_id text, title text CHECK (title <> 'bad'))`,
		`SELECT tide.register_table('app.task', owner_column => 'owner_id', push_policy => 'owner_only')`)
	front := server.New(db.Pool, server.Config{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer of-")
		front.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: user})))
	}))
	t.Cleanup(web.Close)
	folder := t.TempDir()
	device := func(file string, args ...string) said {
		t.Helper()
		return pgtide(t, "", append([]string{"client", "--file", filepath.Join(folder, file), "--url", web.URL, "--token", "of-7", "--user", "7"}, args...)...)
	}
	says := func(got said, want string) {
		t.Helper()
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Fatalf("%+v, want %q", got, want)
		}
	}
	says(device("a.db", "init"), "tables task\nbuckets none yet")
	says(device("a.db", "sql", "-c", `INSERT INTO task (id, title) VALUES ('1', 'Buy ink'), ('2', 'bad')`), "")
	says(device("a.db", "status"), "to push 2  refused 0")
	says(device("a.db", "sync"), "to push 0  refused 1")
	says(device("a.db", "deadletter"), `"table":"task","key":"2","code":"23514","constraint":"task_title_check"`)
	says(device("b.db", "sync"), "buckets global user:7")
	says(device("b.db", "sql", "--command", `UPDATE task SET title = 'theirs' RETURNING id, title`), "1\ttheirs\n")
	says(device("b.db", "sync"), "to push 0")
	says(device("a.db", "sql", "-c", `UPDATE task SET title = 'mine' WHERE id = '1'`), "")
	says(device("a.db", "sync"), "conflicts 1")
	says(device("a.db", "conflicts"), `"resolution":"server wins"`)
	says(device("a.db", "conflicts", "--forget"), `"resolution":"server wins"`)
	says(device("a.db", "status"), "conflicts 0")
	if got := device("a.db", "deadletter", "--discard", "task:2"); got.code != 0 || got.out != "" {
		t.Fatalf("discard: %+v", got)
	}
	says(device("a.db", "sql", "-c", `SELECT id, title FROM task`), "1\ttheirs\n")
	if got := device("a.db", "verify"); got.code != 0 || !strings.Contains(got.errors, "1 rows compared, 0 repaired") {
		t.Fatalf("verify: %+v", got)
	}
	says(device("b.db", "sql", "-c", `CREATE UNIQUE INDEX one_title ON task (title)`), "")
	must(t, db, `INSERT INTO app.task VALUES ('3', '7', 'theirs')`, `SELECT tide.seal()`)
	says(device("b.db", "sync"), "inbox 1")
	says(device("b.db", "inbox"), `{"table":"task","key":"3","row":{"id":"3","owner_id":"7","title":"theirs"},"reason":"`)
	if got := device("a.db", "deadletter", "--retry", "task"); got.code != exitUsage {
		t.Fatalf("retry of nothing: %+v", got)
	}
	if got := pgtide(t, "", "client", "--file", filepath.Join(folder, "c.db"), "status"); got.code != exitUsage || !strings.Contains(got.errors, "--user") {
		t.Fatalf("nobody's file: %+v", got)
	}

	watching := start(t, "", "client", "--file", filepath.Join(folder, "w.db"), "--url", web.URL, "--token", "of-7", "--user", "7", "watch")
	until(t, "the first rows", func() bool { return strings.Contains(watching.out.String(), "changed task") })
	if got := watching.interrupt(t, syscall.SIGTERM); got.code != 0 {
		t.Fatalf("watch: %+v", got)
	}
}
