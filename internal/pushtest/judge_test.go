package pushtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

const noteSchema = `
	CREATE SCHEMA app;
	CREATE TABLE app.note (id bigint PRIMARY KEY, owner_id text NOT NULL, n bigint NOT NULL DEFAULT 0, body text);
	SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'owner_only')`

// Each case has a row 1 of ann at the version it begins with, lets something happen, and pushes.
func TestJudging(t *testing.T) {
	t.Parallel()
	const ok, lost, pruned = "applied", "conflict", "TD014"
	for _, c := range []struct {
		name    string
		happens string // SQL, each statement its own transaction
		op      string
		base    int64 // 0: version of the row at the beginning; negative: none at all
		want    string
		version bool // the conflict names the newest position of the bucket
		deleted bool
	}{
		{name: "nothing happened", op: "UPDATE", want: ok},
		{name: "somebody else's row changed", happens: `UPDATE app.note SET n = 7 WHERE id = 2`, op: "UPDATE", want: ok},
		{name: "changed and sealed", happens: `UPDATE app.note SET n = 7 WHERE id = 1; SELECT tide.seal()`, op: "UPDATE", want: lost, version: true},
		{name: "changed and sealed, deleted here", happens: `UPDATE app.note SET n = 7 WHERE id = 1; SELECT tide.seal()`, op: "DELETE", want: lost, version: true},
		{name: "changed, not sealed", happens: `UPDATE app.note SET n = 7 WHERE id = 1`, op: "UPDATE", want: lost},
		{name: "changed to what it was, which is no change", happens: `UPDATE app.note SET n = n WHERE id = 1; SELECT tide.seal()`, op: "UPDATE", want: ok},
		{name: "deleted", happens: `DELETE FROM app.note WHERE id = 1; SELECT tide.seal()`, op: "UPDATE", want: lost, version: true, deleted: true},
		{name: "deleted by both", happens: `DELETE FROM app.note WHERE id = 1; SELECT tide.seal()`, op: "DELETE", want: lost, version: true, deleted: true},
		{name: "deleted, and pushed again upon its deletion", happens: `DELETE FROM app.note WHERE id = 1; SELECT tide.seal()`, op: "INSERT", base: 3, want: ok},
		{name: "deleted, and inserted without knowing", happens: `DELETE FROM app.note WHERE id = 1; SELECT tide.seal()`, op: "INSERT", base: -1, want: lost, version: true, deleted: true},
		{name: "deleted and inserted again", happens: `DELETE FROM app.note WHERE id = 1; INSERT INTO app.note VALUES (1, 'ann'); SELECT tide.seal()`, op: "UPDATE", want: lost, version: true},
		{name: "truncated", happens: `TRUNCATE app.note; SELECT tide.seal()`, op: "UPDATE", want: lost, version: true, deleted: true},
		{name: "its key was changed", happens: `UPDATE app.note SET id = 9 WHERE id = 1; SELECT tide.seal()`, op: "UPDATE", want: lost, version: true, deleted: true},
		{name: "given to somebody else", happens: `UPDATE app.note SET owner_id = 'bob' WHERE id = 1; SELECT tide.seal()`, op: "UPDATE", want: lost, version: true, deleted: true},
		{name: "given away and back", happens: `UPDATE app.note SET owner_id = 'bob' WHERE id = 1; UPDATE app.note SET owner_id = 'ann' WHERE id = 1; SELECT tide.seal()`, op: "UPDATE", want: lost, version: true},
		{name: "inserted where it is", op: "INSERT", base: -1, want: lost, version: true},
		{name: "updated without having seen it", op: "UPDATE", base: -1, want: lost, version: true},
		{name: "came and went in one transaction", happens: `BEGIN; INSERT INTO app.note VALUES (3, 'ann'); DELETE FROM app.note WHERE id = 3; COMMIT; SELECT tide.seal()`, op: "INSERT 3", base: -1, want: ok},
		{name: "read again", happens: `SELECT tide.refresh('app.note'); SELECT tide.seal()`, op: "UPDATE", want: ok},
		{name: "capture was paused", happens: `SELECT tide.pause(); UPDATE app.note SET n = 7 WHERE id = 1; SELECT tide.resume(); SELECT tide.seal()`, op: "UPDATE", want: pruned},
		{name: "capture is paused", happens: `SELECT tide.pause()`, op: "UPDATE", want: "TD126"},
		// The row of a conflict would have changes that no version stands for.
		{name: "capture is paused after a change", happens: `UPDATE app.note SET n = 7 WHERE id = 1; SELECT tide.seal(); SELECT tide.pause()`, op: "UPDATE", want: "TD126"},
		{name: "changes were missed, and the table was not read yet", happens: `SELECT tide.pause(); UPDATE app.note SET n = 7 WHERE id = 1; SELECT tide.resume()`, op: "UPDATE", want: "TD126"},
		{name: "a version that is not there yet", op: "UPDATE", base: 99, want: pruned},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, noteSchema)
			d := connected(t, db, "ann")
			base := d.applied(t, insert("note", 8, `{}`), insert("note", 1, `{"body":"first"}`))
			base = d.applied(t, update("note", 1, base, `{"body":"second"}`))
			exec(t, db, `INSERT INTO app.note VALUES (2, 'bob')`)
			exec(t, db, `SELECT tide.seal()`)
			conn := db.Connect(t, db.URL)
			for _, statement := range strings.Split(c.happens, ";") {
				if _, err := conn.Exec(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			id, op := 1, c.op
			if op == "INSERT 3" {
				id, op = 3, "INSERT"
			}
			switch {
			case c.base > 0:
				base = c.base
			case c.base < 0:
				base = 0
			}
			r := row{Schema: "app", Table: "note", Key: keyOf(id), Op: op, Base: base}
			if op != "DELETE" {
				r.Payload = []byte(`{"body":"mine"}`)
			}
			a := d.push(t.Context(), r)
			if got := a.Status + a.Code; got != c.want {
				t.Fatalf("%+v, want %s", a, c.want)
			}
			if c.want != lost {
				return
			}
			got := a.Conflicts[0]
			if head := value[int64](t, db, `SELECT head_seq FROM tide.bucket_position('user:ann')`); c.version && got.Version != head || got.Version > head {
				t.Errorf("the server's version is %d, the head %d", got.Version, head)
			}
			if got.Deleted != c.deleted || (string(got.Row) == "null") != c.deleted {
				t.Errorf("%+v, want deleted %t", got, c.deleted)
			}
			// What the conflict says is enough to go on.
			exec(t, db, `SELECT tide.seal()`)
			a = d.push(t.Context(), r)
			r.Base = a.Conflicts[0].Version
			if got.Deleted && op != "DELETE" {
				r.Op = "INSERT"
			} else if op == "INSERT" {
				r.Op = "UPDATE"
			}
			if got.Deleted && op == "DELETE" {
				return
			}
			if a.Conflicts[0].Deleted && c.name == "given to somebody else" {
				return // the key is taken, by a row that is not his
			}
			if a = d.push(t.Context(), r); a.Status != "applied" {
				t.Errorf("pushed again upon version %d: %+v", r.Base, a)
			}
		})
	}
}

// A transaction that began first and ended last: its change is older by number, and later in the log.
func TestJudgingBehindALongTransaction(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	d := connected(t, db, "ann")
	exec(t, db, `INSERT INTO app.note SELECT g, 'ann' FROM generate_series(1, 3) AS g`)
	long, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer long.Rollback(t.Context()) //nolint:errcheck // committed below
	if _, err := long.Exec(t.Context(), `UPDATE app.note SET n = 1 WHERE id = 1`); err != nil {
		t.Fatal(err)
	}
	// Others go on, and the device is at the newest position there is.
	exec(t, db, `UPDATE app.note SET n = 2 WHERE id = 2`)
	exec(t, db, `SELECT tide.seal()`)
	base := value[int64](t, db, `SELECT head_seq FROM tide.bucket_position('user:ann')`)
	if err := long.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		a := d.push(t.Context(), update("note", 1, base, `{"n":5}`))
		if a.Status != "conflict" {
			t.Fatalf("sealed %d times: the change of the long transaction is lost: %+v", i, a)
		}
		exec(t, db, `SELECT tide.seal()`)
	}
	d.applied(t, update("note", 1, base+1, `{"n":5}`), update("note", 2, base, `{"n":5}`))
}

// Several transactions of one seal: a version in the middle of it is judged by the order within.
func TestJudgingWithinASeal(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	d := connected(t, db, "ann")
	exec(t, db, `INSERT INTO app.note SELECT g, 'ann' FROM generate_series(1, 5) AS g`)
	for i := range 5 {
		exec(t, db, fmt.Sprintf(`UPDATE app.note SET n = 1 WHERE id = %d`, i+1))
	}
	exec(t, db, `SELECT tide.seal()`)
	// Bundle 1 inserted all, bundle i+1 changed row i: upon version 4 rows 1 to 3 are known, 4 and 5 are not.
	a := d.push(t.Context(), update("note", 1, 4, `{"n":9}`), update("note", 3, 4, `{"n":9}`), update("note", 4, 4, `{"n":9}`), update("note", 5, 4, `{"n":9}`))
	if a.Status != "conflict" || len(a.Conflicts) != 2 || string(a.Conflicts[0].Key) != `{"id":"4"}` || a.Conflicts[0].Version != 5 || a.Conflicts[1].Version != 6 {
		t.Errorf("%+v", a)
	}
	d.applied(t, update("note", 1, 4, `{"n":9}`), update("note", 3, 4, `{"n":9}`))
}

// Of a row of somebody else, what is there, was there, or changed is told no more than of one that never was.
func TestHiddenRows(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	d := connected(t, db, "ann")
	base := d.applied(t, insert("note", 1, `{"body":"hers"}`))
	for _, statement := range []string{
		`INSERT INTO app.note SELECT g, 'bob' FROM generate_series(11, 14) AS g`,
		`SELECT tide.seal()`,
		`UPDATE app.note SET n = 1 WHERE id = 12`,
		`UPDATE app.note SET owner_id = 'eve' WHERE id = 13`,
		`DELETE FROM app.note WHERE id = 14`,
		`UPDATE app.note SET n = 1 WHERE id = 1`,
		`SELECT tide.seal()`,
	} {
		exec(t, db, statement)
	}
	told := func(r row) string {
		a := d.push(t.Context(), r)
		for i := range a.Conflicts {
			a.Conflicts[i].Key = nil
		}
		return fmt.Sprintf("%+v", a)
	}
	for _, base := range []int64{0, base, base + 1} {
		never, neverDeleted := told(update("note", 99, base, `{"body":"x"}`)), told(remove("note", 99, base))
		for id := 11; id <= 14; id++ {
			if got := told(update("note", id, base, `{"body":"x"}`)); got != never {
				t.Errorf("update of %d upon %d: %s, of a row that never was: %s", id, base, got, never)
			}
			if got := told(remove("note", id, base)); got != neverDeleted {
				t.Errorf("delete of %d upon %d: %s, of a row that never was: %s", id, base, got, neverDeleted)
			}
		}
	}
	d.applied(t, insert("note", 14, `{"body":"the key is free again"}`))
}
