package pushtest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// The first device of a user: one lease at a time, kept by who has it, ended by time or by a push.
func TestLeases(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	exec(t, db, `SELECT tide.seal()`)
	connect := func(user, source string, pending bool) (resolution, id string) {
		t.Helper()
		if err := db.QueryRow(t.Context(), `SELECT resolution, coalesce(initialization_id::text, '') FROM tide.connect($1, $2, $3)`, user, source, pending).Scan(&resolution, &id); err != nil {
			t.Fatal(err)
		}
		return resolution, id
	}
	push := func(user, source, initialization string) string {
		if initialization != "NULL" {
			initialization = quote(initialization)
		}
		return code(t, db, fmt.Sprintf(`SELECT tide.push(%s, %s, 1, '[{"schema":"app","table":"note","key":{"id":"1"},"op":"INSERT","payload":{}}]', NULL, %s)`, quote(user), quote(source), initialization))
	}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	want("before connecting", push("ann", "a", "NULL"), "TD108")
	resolution, id := connect("ann", "a", true)
	want("with rows", resolution, "initialize_local")
	resolution, again := connect("ann", "a", true)
	want("again", resolution+again, "initialize_local"+id)
	resolution, _ = connect("ann", "b", true)
	want("another device", resolution, "retry_later")
	resolution, _ = connect("ann", "b", false)
	want("another device without rows", resolution, "retry_later")
	want("without the id", push("ann", "a", "NULL"), "TD101")
	want("with another id", push("ann", "a", "00000000-0000-0000-0000-000000000000"), "TD110")
	want("from another source", push("ann", "b", id), "TD110")
	want("another source without id", push("ann", "b", "NULL"), "TD101")
	want("state", value[string](t, db, `SELECT tide.scope_state('ann')`), "initializing")
	want("snapshot", code(t, db, `SELECT tide.assert_scope('ann')`), "TD109")
	exec(t, db, `UPDATE tide.scope_lease SET expires_at = now()`)
	want("after it has ended", push("ann", "a", id), "TD111")
	resolution, taken := connect("ann", "b", true)
	want("then another", resolution, "initialize_local")
	want("the first, late", push("ann", "a", id), "TD110")
	want("the first again", func() string { r, _ := connect("ann", "a", true); return r }(), "retry_later")
	want("the push", push("ann", "b", taken), "")
	resolution, _ = connect("ann", "a", true)
	want("and then", resolution, "remote_authoritative")
	want("with an id of long ago", push("ann", "a", id), "TD110")
	want("with the id of the lease", push("ann", "a", taken), "TD110")

	resolution, _ = connect("bob", "a", false)
	want("without rows", resolution, "initialize_empty")
	// A user whose rows were there before.
	exec(t, db, `INSERT INTO app.note VALUES (70, 'cora')`)
	exec(t, db, `SELECT tide.seal()`)
	resolution, _ = connect("cora", "a", true)
	want("of an existing database", resolution, "remote_authoritative")

	// Many devices at once: one gets the lease.
	var group sync.WaitGroup
	resolutions := make(chan string, 20)
	for i := range cap(resolutions) {
		group.Go(func() { r, _ := connect("dora", fmt.Sprint(i), true); resolutions <- r })
	}
	group.Wait()
	close(resolutions)
	count := map[string]int{}
	for r := range resolutions {
		count[r]++
	}
	if count["initialize_local"] != 1 || count["retry_later"] != cap(resolutions)-1 {
		t.Errorf("at once: %v", count)
	}
}

// A source that lost its history goes on under another name, once.
func TestReplacedSources(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	d := connected(t, db, "ann")
	d.applied(t, insert("note", 1, `{}`))
	for _, c := range []struct{ call, want string }{
		{`'ann', 'phone', 'phone', 'history_pruned'`, "TD123"},
		{`'ann', 'phone', '', 'history_pruned'`, "TD123"},
		{`'ann', 'phone', 'new', 'because'`, "TD123"},
		{`'ann', 'phone', 'new', 'history_pruned'`, ""},
		{`'ann', 'phone', 'new', 'history_pruned'`, ""},
		{`'ann', 'phone', 'other', 'history_pruned'`, "TD114"},
		{`'ann', 'tablet', 'new', 'history_pruned'`, "TD115"},
		{`'ann', 'tablet', 'phone', 'history_pruned'`, "TD115"},
		{`'bob', 'tablet', 'phone', 'history_pruned'`, ""},
	} {
		if got := code(t, db, `SELECT tide.replace_source(`+c.call+`)`); got != c.want {
			t.Errorf("%s: %q, want %q", c.call, got, c.want)
		}
	}
	if a := d.push(t.Context(), insert("note", 2, `{}`)); a.Code != "TD114" {
		t.Errorf("the old source: %+v", a)
	}
	if a := d.pushText(t.Context(), 1, `[{"table":"of long ago"}]`); a.Status != "already_committed" {
		t.Errorf("what it pushed before: %+v", a)
	}
	d.source, d.number = "new", 0
	d.applied(t, insert("note", 2, `{}`))
	if got := value[string](t, db, `SELECT string_agg(source_id || ' ' || source_bundle_id, ', ' ORDER BY bundle_seq) FROM tide.bundles WHERE bucket_id = 'user:ann'`); got != "phone 1, new 1" {
		t.Errorf("the bundles come from %s", got)
	}
}
