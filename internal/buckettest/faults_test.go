package buckettest

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
)

// The race of the design: a child that is inserted while its parent moves in another transaction goes
// where the parent goes, whichever commits first, and whatever is sealed between the two.
func TestChildInsertedWhileItsParentMoves(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]string{
		"move commits first":               {"move", "child"},
		"child commits first":              {"child", "move"},
		"move commits first, seal between": {"move", "seal", "child"},
		"child first, seal between":        {"child", "seal", "move"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newApp(t, altering...)
			ann, bob := newDevice(db, "user:ann"), newDevice(db, "user:bob")
			ann.expect(t, "project 1", "task 1", "note 1")
			bob.expect(t)
			open := map[string]pgx.Tx{}
			for what, statement := range map[string]string{"move": `UPDATE project SET owner = 'bob'`, "child": `INSERT INTO task VALUES (2, 1, 'new'); INSERT INTO note VALUES (2, 2, 'new')`} {
				tx, err := db.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = tx.Rollback(t.Context()) }() // it is committed below
				if _, err := tx.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
				open[what] = tx
			}
			for _, what := range order {
				if what == "seal" {
					exec(t, db, `SELECT tide.seal()`)
				} else if err := open[what].Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			ann.expect(t)
			bob.expect(t, "project 1", "task 1", "task 2", "note 1", "note 2")
			noFailures(t, db)
		})
	}
}

// Fault 4: a row that moves between two buckets of one client was deleted on the device. Here it is moved by
// its parent, and by a share.
func TestFault4RowMovesBetweenBucketsOfOneClient(t *testing.T) {
	t.Parallel()
	db := newApp(t, altering...)
	exec(t, db, `CREATE FUNCTION reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE AS $$ SELECT unnest('{user:ann,user:bob,user:zoe}'::text[]) $$; SELECT tide.set_bucket_access('app.reads')`)
	d := cursorclient.New(&cursorserver.SQL{Pool: db.Pool, User: "me", Source: "phone"})
	if err := d.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		statement string
		ops       []string
		buckets   string
	}{
		{`UPDATE project SET owner = 'bob'`, []string{"UPDATE", "UPDATE", "UPDATE"}, "user:bob"},
		{`UPDATE share SET who = 'bob'`, []string{"UPDATE"}, "user:bob"},
		{`UPDATE project SET owner = NULL`, []string{"DELETE", "DELETE"}, ""},
		{`DELETE FROM share`, []string{"DELETE"}, ""},
	} {
		exec(t, db, c.statement, `SELECT tide.seal()`)
		page, err := d.Server.Pull(t.Context(), d.Cursor, 10)
		if err != nil {
			t.Fatal(err)
		}
		var ops []string
		for _, bundle := range page.Bundles {
			for _, row := range bundle.Rows {
				ops = append(ops, row.Op)
				if row.Op == "UPDATE" && c.buckets != "" && !slices.Contains(row.Buckets, c.buckets) {
					t.Errorf("%s: %+v", c.statement, row)
				}
			}
		}
		if slices.Sort(ops); !slices.Equal(ops, c.ops) {
			t.Errorf("%s: devices hear %q, want %q", c.statement, ops, c.ops)
		}
		if err := d.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.Rows) != 0 {
		t.Errorf("left: %v", d.Rows)
	}
}

// Fault 5: a parent's owner changed, or a share was revoked, and children or copies stayed with the old user.
func TestFault5NothingStaysWithTheOldUser(t *testing.T) {
	t.Parallel()
	db := newApp(t, altering...)
	ann, bob, zoe := newDevice(db, "user:ann"), newDevice(db, "user:bob"), newDevice(db, "user:zoe")
	ann.expect(t, "project 1", "task 1", "note 1")
	zoe.expect(t, "note 1")
	exec(t, db, `UPDATE project SET owner = 'bob'; UPDATE note SET title = 'written as it went'`)
	ann.expect(t)
	bob.expect(t, "project 1", "task 1", "note 1")
	exec(t, db, `DELETE FROM share`)
	zoe.expect(t)
	exec(t, db, `UPDATE note SET title = 'after the share was revoked'`)
	zoe.expect(t)
	bob.expect(t, "project 1", "task 1", "note 1")
	exec(t, db, `INSERT INTO share VALUES (1, 'zoe')`)
	zoe.expect(t, "note 1")
	exec(t, db, `UPDATE share SET who = 'ann'`)
	zoe.expect(t)
	ann.expect(t, "note 1")
	exec(t, db, `UPDATE task SET project_id = NULL`)
	bob.expect(t, "project 1")
	ann.expect(t, "note 1")
}

// Fault 6: TRUNCATE, or a key that is updated, left devices with the old rows. Of the row itself, of what it
// hangs on, and of the shares.
func TestFault6TruncateAndKeysThatChange(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string][2][]string{
		`TRUNCATE note`:                   {{"project 1", "task 1"}, {}},
		`TRUNCATE task`:                   {{"project 1"}, {"note 1"}},
		`TRUNCATE project`:                {{}, {"note 1"}},
		`TRUNCATE share`:                  {{"project 1", "task 1", "note 1"}, {}},
		`TRUNCATE project, task, share`:   {{}, {}},
		`UPDATE note SET id = 7`:          {{"project 1", "task 1", "note 7"}, {"note 7"}},
		`UPDATE task SET id = 7`:          {{"project 1", "task 7"}, {"note 1"}},
		`UPDATE project SET id = 7`:       {{"project 7"}, {"note 1"}},
		`UPDATE share SET task_id = 7`:    {{"project 1", "task 1", "note 1"}, {}},
		`UPDATE share SET who = 'nobody'`: {{"project 1", "task 1", "note 1"}, {}},
	} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			db := newApp(t, altering...)
			ann, zoe := newDevice(db, "user:ann"), newDevice(db, "user:zoe")
			ann.expect(t, "project 1", "task 1", "note 1")
			zoe.expect(t, "note 1")
			exec(t, db, statement)
			ann.expect(t, want[0]...)
			zoe.expect(t, want[1]...)
			noFailures(t, db)
		})
	}
}

// Fault 13: with FORCE ROW LEVEL SECURITY, or for a role that is no superuser, rows vanished from the
// stream. What a rule looks at is read as a whole, or rows stay where they are until it can be.
func TestFault13RowsBehindPoliciesDoNotVanish(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"project", "task", "share"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			db := newApp(t, altering...)
			ann, zoe, bob := newDevice(db, "user:ann"), newDevice(db, "user:zoe"), newDevice(db, "user:bob")
			exec(t, db, `ALTER TABLE `+table+` ENABLE ROW LEVEL SECURITY; ALTER TABLE `+table+` FORCE ROW LEVEL SECURITY; CREATE POLICY nobody ON `+table+` USING (false)`,
				`UPDATE note SET title = 'written behind the policies'`)
			ann.expect(t, "project 1", "task 1", "note 1")
			zoe.expect(t, "note 1")
			// The remedy that tide.check() names.
			exec(t, db, `SELECT tide.refresh('`+table+`')`, `UPDATE project SET owner = 'bob'; UPDATE share SET who = 'bob'`)
			ann.expect(t)
			zoe.expect(t)
			bob.expect(t, "project 1", "task 1", "note 1")
			noFailures(t, db)
		})
	}
}
