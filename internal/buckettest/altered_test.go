package buckettest

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

var altering = []string{`
	CREATE TABLE project (id int PRIMARY KEY, owner text, title text);
	CREATE TABLE task    (id int PRIMARY KEY, project_id int, title text);
	CREATE TABLE note    (id int PRIMARY KEY, task_id int, title text);
	CREATE TABLE share   (task_id int, who text, PRIMARY KEY (task_id, who));
	CREATE FUNCTION note_buckets(n note) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT array_agg('user:' || s.who) FROM app.share AS s WHERE s.task_id = n.task_id $$;
	CREATE INDEX ON task (project_id); CREATE INDEX ON note (task_id);
	SELECT tide.register_table('project', owner_column => 'owner');
	SELECT tide.register_table('task', parent => 'project', parent_fk => 'project_id');
	SELECT tide.register_table('note', parent => 'task', parent_fk => 'task_id', bucket_function => 'app.note_buckets');
	SELECT tide.add_bucket_dependency('note', on_table => 'share', columns => 'task_id', table_columns => 'task_id')`,
	`SELECT tide.seal()`,
	`INSERT INTO project VALUES (1, 'ann', 'p'); INSERT INTO task VALUES (1, 1, 't'); INSERT INTO note VALUES (1, 1, 'n'); INSERT INTO share VALUES (1, 'zoe')`,
	`SELECT tide.seal()`,
}

// Rules follow tables that are altered, from the statement after on: before anybody called tide.refresh,
// and after.
func TestRulesFollowTablesThatAreAltered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ alter, table, bob, cid string }{
		"key of the parent renamed":   {`ALTER TABLE project RENAME COLUMN id TO number`, "project", `UPDATE project SET owner = 'bob'`, `UPDATE project SET owner = 'cid'`},
		"owner of the parent renamed": {`ALTER TABLE project RENAME COLUMN owner TO boss`, "project", `UPDATE project SET boss = 'bob'`, `UPDATE project SET boss = 'cid'`},
		"reference renamed":           {`ALTER TABLE task RENAME COLUMN project_id TO project`, "task", `UPDATE project SET owner = 'bob'`, `UPDATE project SET owner = 'cid'`},
		"parent renamed":              {`ALTER TABLE project RENAME TO venture`, "venture", `UPDATE venture SET owner = 'bob'`, `UPDATE venture SET owner = 'cid'`},
		"key of the parent widened":   {`ALTER TABLE project ALTER id TYPE bigint`, "project", `UPDATE project SET owner = 'bob'`, `UPDATE project SET owner = 'cid'`},
		"column added to the parent":  {`ALTER TABLE project ADD extra int DEFAULT 5`, "project", `UPDATE project SET owner = 'bob'`, `UPDATE project SET owner = 'cid'`},
		"column added to the child":   {`ALTER TABLE task ADD extra int DEFAULT 5`, "task", `UPDATE project SET owner = 'bob'`, `UPDATE project SET owner = 'cid'`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newApp(t, altering...)
			project := "project 1"
			ann, bob, cid := newDevice(db, "user:ann"), newDevice(db, "user:bob"), newDevice(db, "user:cid")
			ann.expect(t, "project 1", "task 1", "note 1")
			exec(t, db, c.alter, c.bob)
			ann.expect(t)
			bob.expect(t, "project 1", "task 1", "note 1")
			noFailures(t, db)
			exec(t, db, `SELECT tide.refresh('app.`+c.table+`')`, c.cid)
			if c.table == "venture" {
				project = "venture 1"
			}
			bob.expect(t)
			cid.expect(t, project, "task 1", "note 1")
			noFailures(t, db)
			if finding := findings(t, db); finding != "" {
				t.Error(finding)
			}
		})
	}
}

// A function that names a column which is renamed raises until it is mended: its rows are in no bucket.
// What was declared goes along with tide.refresh.
func TestDeclaredDependenciesFollowRenamedColumns(t *testing.T) {
	t.Parallel()
	db := newApp(t, altering...)
	zoe, yan := newDevice(db, "user:zoe"), newDevice(db, "user:yan")
	zoe.expect(t, "note 1")
	exec(t, db, `ALTER TABLE share RENAME COLUMN task_id TO task`, `INSERT INTO share VALUES (1, 'yan')`)
	zoe.expect(t)
	if got := findings(t, db); !strings.Contains(got, "bucket rules raise errors") {
		t.Errorf("tide.check() says %q", got)
	}
	exec(t, db, `CREATE OR REPLACE FUNCTION note_buckets(n note) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT array_agg('user:' || s.who) FROM app.share AS s WHERE s.task = n.task_id $$`,
		`SELECT tide.refresh('share')`, `SELECT tide.retry_bucket_failures()`)
	zoe.expect(t, "note 1")
	yan.expect(t, "note 1")
	exec(t, db, `DELETE FROM share WHERE who = 'zoe'`)
	zoe.expect(t)
	exec(t, db, `ALTER TABLE note RENAME COLUMN task_id TO task`,
		`CREATE OR REPLACE FUNCTION note_buckets(n note) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT array_agg('user:' || s.who) FROM app.share AS s WHERE s.task = n.task $$`,
		`SELECT tide.refresh('note')`, `INSERT INTO share VALUES (1, 'zoe')`, `DELETE FROM share WHERE who = 'yan'`)
	zoe.expect(t, "note 1")
	yan.expect(t)
	noFailures(t, db)
	if got := findings(t, db); got != "" {
		t.Error(got)
	}
}

// Where the column is gone that said whose rows they are, they are nobody's, until there is another rule.
func TestALostReferenceTakesRowsOutOfAllBuckets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ alter, registered, mend string }{
		"owner of the parent": {`ALTER TABLE project DROP COLUMN owner`, "project", `ALTER TABLE project ADD owner text DEFAULT 'ann'; SELECT tide.register_table('project', owner_column => 'owner')`},
		"reference":           {`ALTER TABLE task DROP COLUMN project_id`, "task", `ALTER TABLE task ADD project_id int DEFAULT 1; SELECT tide.register_table('task', parent => 'project', parent_fk => 'project_id')`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newApp(t, altering...)
			note := `SELECT array_agg(bucket_id::text ORDER BY bucket_id) FROM tide.membership AS m JOIN tide.synced_table AS s USING (table_id) WHERE s.table_name = 'note'`
			exec(t, db, c.alter, `UPDATE note SET task_id = 1, title = 'other'`, `INSERT INTO share VALUES (1, 'yan')`, `SELECT tide.seal()`)
			var buckets []string
			if err := db.QueryRow(t.Context(), note).Scan(&buckets); err != nil {
				t.Fatal(err)
			}
			if len(buckets) > 0 {
				t.Errorf("the note lies in %q", buckets)
			}
			if got := findings(t, db); !strings.Contains(got, "a column capture needs was dropped") || !strings.Contains(got, "bucket rules raise errors") {
				t.Errorf("tide.check() says %q", got)
			}
			exec(t, db, c.mend, `SELECT tide.retry_bucket_failures()`)
			newDevice(db, "user:ann").expect(t, "project 1", "task 1", "note 1")
			newDevice(db, "user:yan").expect(t, "note 1")
			noFailures(t, db)
		})
	}
}

func noFailures(t *testing.T, db *pgtest.DB) {
	t.Helper()
	var failed string
	if err := db.QueryRow(t.Context(), `SELECT coalesce(string_agg(f::text, '; '), '') FROM tide.bucket_failures AS f`).Scan(&failed); err != nil {
		t.Fatal(err)
	}
	if failed != "" {
		t.Errorf("failed: %s", failed)
	}
}

func findings(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	var found string
	if err := db.QueryRow(t.Context(), `SELECT coalesce(string_agg(f::text, E'\n'), '') FROM tide.check() AS f`).Scan(&found); err != nil {
		t.Fatal(err)
	}
	return found
}

// Rows that have buckets of their parent alone may be marked as deleted.
func TestSoftDeletesBelowAParent(t *testing.T) {
	t.Parallel()
	db := newApp(t, append(slices.Clone(altering), `
		CREATE TABLE mark (id int PRIMARY KEY, task_id int, parent_id int, gone timestamptz);
		SELECT tide.register_table('mark', parents => '{"app.task": "task_id", "app.mark": "parent_id"}', deleted_at_column => 'gone');
		INSERT INTO mark VALUES (1, 1, NULL), (2, NULL, 1), (3, 1, NULL); UPDATE mark SET gone = now() WHERE id = 3`)...)
	ann, bob := newDevice(db, "user:ann"), newDevice(db, "user:bob")
	ann.expect(t, "project 1", "task 1", "note 1", "mark 1", "mark 2")
	exec(t, db, `UPDATE mark SET gone = now() WHERE id = 1; UPDATE mark SET gone = NULL WHERE id = 3`)
	ann.expect(t, "project 1", "task 1", "note 1", "mark 3")
	exec(t, db, `UPDATE mark SET gone = NULL; UPDATE project SET owner = 'bob'`)
	ann.expect(t)
	bob.expect(t, "project 1", "task 1", "note 1", "mark 1", "mark 2", "mark 3")
	noFailures(t, db)
}
