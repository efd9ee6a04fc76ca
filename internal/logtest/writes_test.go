package logtest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// writeCase is one transaction and the changes its bundle must have. Whatever they are, the fold of
// every bucket must equal the tables afterwards.
type writeCase struct {
	setup string   // tables, rows and registrations
	write []string // one transaction
	want  []string // bucket op table key; nil where only the fold counts
}

const taskSetup = `
CREATE SCHEMA app;
CREATE TABLE app.task (id int PRIMARY KEY, owner int, title text, secret text);
INSERT INTO app.task SELECT g, g % 3, 't' || g FROM generate_series(1, 9) AS g;
SELECT tide.register_table('app.task', owner_column => 'owner');`

var writeCases = map[string]writeCase{
	"insert": {taskSetup, []string{`INSERT INTO app.task VALUES (20, 1, 'a'), (21, 2, 'b')`},
		[]string{"user:1 INSERT task 20", "user:2 INSERT task 21"}},
	"update": {taskSetup, []string{`UPDATE app.task SET title = 'z' WHERE id IN (1, 4)`},
		[]string{"user:1 UPDATE task 1", "user:1 UPDATE task 4"}},
	"delete": {taskSetup, []string{`DELETE FROM app.task WHERE owner = 0`},
		[]string{"user:0 DELETE task 3", "user:0 DELETE task 6", "user:0 DELETE task 9"}},
	"an update that changes nothing":            {taskSetup, []string{`UPDATE app.task SET title = title`}, []string{}},
	"an update of one row that changes nothing": {taskSetup, []string{`UPDATE app.task SET title = title WHERE id = 1`}, []string{}},
	"no row at all":                             {taskSetup, []string{`UPDATE app.task SET title = 'x' WHERE false`, `DELETE FROM app.task WHERE false`}, []string{}},
	"insert and delete in one transaction":      {taskSetup, []string{`INSERT INTO app.task VALUES (20, 1)`, `DELETE FROM app.task WHERE id = 20`}, []string{}},
	"insert and update in one transaction": {taskSetup, []string{`INSERT INTO app.task VALUES (20, 1)`, `UPDATE app.task SET title = 'x' WHERE id = 20`},
		[]string{"user:1 INSERT task 20"}},
	"delete and insert of one key": {taskSetup, []string{`DELETE FROM app.task WHERE id = 1`, `INSERT INTO app.task VALUES (1, 1, 'again')`},
		[]string{"user:1 UPDATE task 1"}},
	"a row moves from A to B": {taskSetup, []string{`UPDATE app.task SET owner = 2 WHERE id = 1`},
		[]string{"user:1 DELETE task 1", "user:2 INSERT task 1"}},
	"a row moves from A over B to C": {taskSetup, []string{`UPDATE app.task SET owner = 2 WHERE id = 1`, `UPDATE app.task SET owner = 0 WHERE id = 1`},
		[]string{"user:0 INSERT task 1", "user:1 DELETE task 1"}},
	"a row moves away and back": {taskSetup, []string{`UPDATE app.task SET owner = 2 WHERE id = 1`, `UPDATE app.task SET owner = 1 WHERE id = 1`},
		[]string{"user:1 UPDATE task 1"}},
	"a row loses its owner": {taskSetup, []string{`UPDATE app.task SET owner = NULL WHERE id = 1`},
		[]string{"user:1 DELETE task 1"}},
	"a row nobody gets": {taskSetup, []string{`INSERT INTO app.task VALUES (20, NULL)`, `UPDATE app.task SET title = 'x' WHERE id = 20`}, []string{}},
	"a key changes": {taskSetup, []string{`UPDATE app.task SET id = 20 WHERE id = 1`},
		[]string{"user:1 DELETE task 1", "user:1 INSERT task 20"}},
	"two keys are swapped": {`CREATE SCHEMA app; CREATE TABLE app.task (id int PRIMARY KEY DEFERRABLE, n int NOT NULL UNIQUE, owner int, title text);
		CREATE UNIQUE INDEX ON app.task (n); INSERT INTO app.task VALUES (1, 10, 1, 'a'), (2, 20, 1, 'b');
		SELECT tide.register_table('app.task', owner_column => 'owner', key_columns => '{n}');`,
		[]string{`UPDATE app.task SET id = 3 - id`}, []string{"user:1 UPDATE task 10", "user:1 UPDATE task 20"}},
	"keys rotate": {taskSetup, []string{`UPDATE app.task SET id = id + 100 WHERE id IN (1, 2, 3)`, `UPDATE app.task SET id = CASE id WHEN 101 THEN 2 WHEN 102 THEN 3 ELSE 1 END WHERE id > 100`},
		[]string{"user:0 INSERT task 1", "user:0 DELETE task 3", "user:1 DELETE task 1", "user:1 INSERT task 2", "user:2 DELETE task 2", "user:2 INSERT task 3"}},
	"truncate":               {taskSetup, []string{`TRUNCATE app.task`}, nil},
	"truncate, then insert":  {taskSetup, []string{`TRUNCATE app.task`, `INSERT INTO app.task VALUES (1, 1, 'new'), (50, 1, 'new')`}, nil},
	"truncate after changes": {taskSetup, []string{`INSERT INTO app.task VALUES (20, 1)`, `UPDATE app.task SET owner = 2 WHERE id = 1`, `TRUNCATE app.task`}, nil},
	"on conflict do update": {taskSetup, []string{`INSERT INTO app.task VALUES (1, 1, 'x'), (20, 1, 'y') ON CONFLICT (id) DO UPDATE SET title = excluded.title`},
		[]string{"user:1 UPDATE task 1", "user:1 INSERT task 20"}},
	"merge": {taskSetup, []string{`MERGE INTO app.task AS t USING (VALUES (1, 'm'), (2, NULL), (20, 'n')) AS s (id, title) ON t.id = s.id
		WHEN MATCHED AND s.title IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET title = s.title WHEN NOT MATCHED THEN INSERT VALUES (s.id, 2, s.title)`},
		[]string{"user:1 UPDATE task 1", "user:2 DELETE task 2", "user:2 INSERT task 20"}},
	"statements in WITH": {taskSetup, []string{`WITH gone AS (DELETE FROM app.task WHERE id = 1 RETURNING *), more AS (UPDATE app.task SET title = 'w' WHERE id = 4)
		INSERT INTO app.task SELECT 20, owner, title FROM gone`},
		[]string{"user:1 DELETE task 1", "user:1 INSERT task 20", "user:1 UPDATE task 4"}},
	// PostgreSQL runs such a WITH to its end after everything else, and its triggers last.
	"a WITH that is not read to its end deletes rows that come again": {taskSetup, []string{
		`WITH gone AS (DELETE FROM app.task RETURNING *) INSERT INTO app.task SELECT id, 2, 'again' FROM (SELECT * FROM gone LIMIT 3) AS few`},
		[]string{"user:0 DELETE task 3", "user:0 DELETE task 6", "user:0 DELETE task 9", "user:1 DELETE task 1", "user:1 DELETE task 4", "user:1 DELETE task 7",
			"user:2 INSERT task 1", "user:2 UPDATE task 2", "user:2 INSERT task 3", "user:2 DELETE task 5", "user:2 DELETE task 8"}},
	"the same after and before other changes of the rows": {taskSetup, []string{`UPDATE app.task SET owner = 0 WHERE id IN (1, 4)`, `INSERT INTO app.task VALUES (20, 1)`,
		`WITH gone AS (DELETE FROM app.task RETURNING *) INSERT INTO app.task SELECT id, 2, 'again' FROM (SELECT * FROM gone ORDER BY id LIMIT 3) AS few`,
		`UPDATE app.task SET title = 'later' WHERE id = 1`, `DELETE FROM app.task WHERE id = 2`}, nil},
	"rows that come again in order, after other changes": {taskSetup, []string{`INSERT INTO app.task VALUES (20, 1)`,
		`WITH gone AS (DELETE FROM app.task RETURNING *) INSERT INTO app.task SELECT id, 2, 'again' FROM gone`},
		nil},
	"a WITH that is not read to its end moves keys that come again": {taskSetup, []string{
		`WITH moved AS (UPDATE app.task SET id = id + 100 RETURNING *) INSERT INTO app.task SELECT id - 100, 2, 'again' FROM (SELECT * FROM moved LIMIT 3) AS few`,
		`UPDATE app.task SET title = 'later' WHERE id = 1`}, nil},
	"the same of one row": {taskSetup, []string{
		`WITH moved AS (UPDATE app.task SET id = id + 100 WHERE id = 1 RETURNING *) INSERT INTO app.task SELECT id - 100, 2, 'again' FROM (SELECT * FROM moved LIMIT 1) AS few`}, nil},
	"the same where row triggers may change rows again": {triggerSetup, []string{
		`WITH gone AS (DELETE FROM app.task RETURNING *) INSERT INTO app.task SELECT id, 2, 'again' FROM (SELECT * FROM gone LIMIT 1) AS few`}, nil},
	"rows that come again in order, where row triggers may change rows again": {triggerSetup, []string{
		`WITH gone AS (DELETE FROM app.task RETURNING *) INSERT INTO app.task SELECT id, 2, 'again' FROM gone`}, nil},
	"rows that come again as they were, after they did before": {taskSetup, []string{
		`DELETE FROM app.task WHERE id < 4`, `INSERT INTO app.task VALUES (1, 2, 'between'), (2, 2, 't2')`,
		`WITH gone AS (DELETE FROM app.task WHERE id IN (1, 2) RETURNING *) INSERT INTO app.task SELECT id, 2, 't' || id FROM (SELECT * FROM gone LIMIT 1) AS few`}, nil},
	"savepoints": {taskSetup, []string{`INSERT INTO app.task VALUES (20, 1)`, `SAVEPOINT s`, `INSERT INTO app.task VALUES (21, 1)`, `UPDATE app.task SET owner = 2 WHERE id = 20`,
		`ROLLBACK TO s`, `INSERT INTO app.task VALUES (22, 1)`},
		[]string{"user:1 INSERT task 20", "user:1 INSERT task 22"}},
	"null owner to a bucket": {strings.Replace(taskSetup, `'owner')`, `'owner', null_owner_bucket => 'global')`, 1),
		[]string{`UPDATE app.task SET owner = NULL WHERE id = 1`, `INSERT INTO app.task VALUES (20, NULL)`},
		[]string{"global INSERT task 1", "global INSERT task 20", "user:1 DELETE task 1"}},
	"one bucket for all": {strings.Replace(taskSetup, `owner_column => 'owner'`, `bucket => 'global'`, 1),
		[]string{`UPDATE app.task SET owner = owner + 1 WHERE id < 3`}, []string{"global UPDATE task 1", "global UPDATE task 2"}},
	"a function of the row": {`CREATE SCHEMA app; CREATE TABLE app.doc (id int PRIMARY KEY, readers text[], body text);
		CREATE FUNCTION app.doc_buckets(d app.doc) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$ SELECT array_agg('user:' || r) FROM unnest(d.readers) AS r $$;
		GRANT USAGE ON SCHEMA app TO tide_owner;
		INSERT INTO app.doc VALUES (1, '{a,b}', 'x'), (2, '{}', 'y'), (3, NULL, 'z');
		SELECT tide.register_table('app.doc', bucket_function => 'app.doc_buckets');`,
		[]string{`UPDATE app.doc SET readers = '{b,c,c,NULL}' WHERE id = 1`, `UPDATE app.doc SET readers = '{a}' WHERE id = 2`},
		[]string{"user:a DELETE doc 1", "user:a INSERT doc 2", "user:b UPDATE doc 1", "user:c INSERT doc 1"}},
	"an update of excluded columns alone": {strings.Replace(taskSetup, `'owner')`, `'owner', exclude_columns => '{secret}')`, 1),
		[]string{`UPDATE app.task SET secret = 'new'`}, []string{}},
	"soft deletes": {strings.NewReplacer("secret text", "deleted_at timestamptz", `'owner')`, `'owner', deleted_at_column => 'deleted_at')`).Replace(taskSetup),
		[]string{`UPDATE app.task SET deleted_at = now() WHERE id = 1`, `INSERT INTO app.task VALUES (20, 1, 'born dead', now())`},
		[]string{"user:1 DELETE task 1"}},
	"composite, text and quoted keys": {`CREATE SCHEMA "My App"; CREATE TABLE "My App"."Order ""Line""" ("Order" text, "line-no" smallint, "Owner" uuid, PRIMARY KEY ("line-no", "Order"));
		SELECT tide.register_table('"My App"."Order ""Line"""', owner_column => 'Owner');`,
		[]string{`INSERT INTO "My App"."Order ""Line""" VALUES (E'a"b\\c\n', 1, '11111111-1111-1111-1111-111111111111'), ('', 2, '11111111-1111-1111-1111-111111111111')`,
			`UPDATE "My App"."Order ""Line""" SET "Order" = 'é<&>' WHERE "line-no" = 2`},
		nil},
	"a partitioned table":                          {partitionedSetup, []string{`INSERT INTO app.event VALUES (20, 1, 5), (21, 1, 15)`, `UPDATE app.event SET at = 12 WHERE id = 1`, `DELETE FROM app.event WHERE id = 2`}, nil},
	"a row moves between partitions":               {partitionedSetup, []string{`UPDATE app.event SET at = at + 10 WHERE at < 10`}, nil},
	"writes straight into a partition":             {partitionedSetup, []string{`INSERT INTO app.event_low VALUES (20, 1, 5)`, `UPDATE app.event_high_a SET owner = 2`, `DELETE FROM app.event_low WHERE id = 1`}, nil},
	"truncate of a partition":                      {partitionedSetup, []string{`TRUNCATE app.event_low`}, nil},
	"truncate of a partitioned table":              {partitionedSetup, []string{`TRUNCATE app.event`, `INSERT INTO app.event VALUES (1, 1, 5)`}, nil},
	"cascades":                                     {familySetup, []string{`DELETE FROM app.parent WHERE id = 1`, `UPDATE app.parent SET id = 12 WHERE id = 2`}, nil},
	"a tree that refers to itself":                 {treeSetup, []string{`UPDATE app.node SET id = id + 100`}, nil},
	"a tree that loses its root":                   {treeSetup, []string{`DELETE FROM app.node WHERE id = 1`}, nil},
	"row triggers that change the row again":       {triggerSetup, []string{`UPDATE app.task SET title = 'first' WHERE id IN (1, 2)`, `INSERT INTO app.task VALUES (20, 1, 'new')`}, nil},
	"row triggers that move the row":               {triggerSetup, []string{`UPDATE app.task SET title = 'move', owner = 2 WHERE id = 1`}, []string{"user:1 DELETE task 1", "user:9 INSERT task 1"}},
	"row triggers that delete the row":             {triggerSetup, []string{`UPDATE app.task SET title = 'kill' WHERE id = 1`, `INSERT INTO app.task VALUES (20, 1, 'kill')`}, []string{"user:1 DELETE task 1"}},
	"row triggers, an update that changes nothing": {triggerSetup, []string{`UPDATE app.task SET title = title WHERE id = 1`}, []string{}},
	"before triggers that edit the row": {taskSetup + `
		CREATE FUNCTION app.shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := upper(NEW.title); RETURN NEW; END $$;
		CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON app.task FOR EACH ROW EXECUTE FUNCTION app.shout();`,
		[]string{`UPDATE app.task SET title = 'loud' WHERE id = 1`}, []string{"user:1 UPDATE task 1"}},
	"session_replication_role = replica": {taskSetup, []string{`SET LOCAL session_replication_role = replica`, `INSERT INTO app.task VALUES (20, 1)`}, []string{"user:1 INSERT task 20"}},
	"generated columns": {`CREATE SCHEMA app; CREATE TABLE app.sum (id int PRIMARY KEY, a int, b int, total int GENERATED ALWAYS AS (a + b) STORED);
		INSERT INTO app.sum VALUES (1, 1, 1); SELECT tide.register_table('app.sum', bucket => 'global');`,
		[]string{`UPDATE app.sum SET a = 5`, `INSERT INTO app.sum VALUES (2, 3, 4)`}, []string{"global UPDATE sum 1", "global INSERT sum 2"}},
}

const partitionedSetup = `
CREATE SCHEMA app;
CREATE TABLE app.event (id int, owner int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE app.event_low PARTITION OF app.event FOR VALUES FROM (0) TO (10);
CREATE TABLE app.event_high PARTITION OF app.event FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (at);
CREATE TABLE app.event_high_a (at int NOT NULL, gone text, owner int, id int NOT NULL);
ALTER TABLE app.event_high_a DROP COLUMN gone;
ALTER TABLE app.event_high ATTACH PARTITION app.event_high_a FOR VALUES FROM (10) TO (20);
CREATE TABLE app.event_high_b PARTITION OF app.event_high FOR VALUES FROM (20) TO (30);
INSERT INTO app.event VALUES (1, 1, 1), (2, 1, 2), (3, 2, 3), (11, 1, 11), (12, 2, 12), (22, 1, 22);
SELECT tide.register_table('app.event', owner_column => 'owner');`

const familySetup = `
CREATE SCHEMA app;
CREATE TABLE app.parent (id int PRIMARY KEY, owner int);
CREATE TABLE app.child (id int PRIMARY KEY, owner int, a int REFERENCES app.parent ON DELETE CASCADE ON UPDATE CASCADE,
	b int REFERENCES app.parent ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO app.parent VALUES (1, 1), (2, 1), (3, 1);
INSERT INTO app.child VALUES (1, 1, 1, 1), (2, 1, 2, 1), (3, 1, 2, 2), (4, 2, 3, 2), (5, 2, 3, 1), (6, 2, 1, 2);
SELECT tide.register_table('app.parent', owner_column => 'owner');
SELECT tide.register_table('app.child', owner_column => 'owner');`

const treeSetup = `
CREATE SCHEMA app;
CREATE TABLE app.node (id int PRIMARY KEY, owner int, parent int REFERENCES app.node ON DELETE CASCADE ON UPDATE CASCADE, friend int REFERENCES app.node ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO app.node VALUES (1, 1, NULL, NULL), (2, 1, 1, 1), (3, 2, 2, 2), (4, 2, 2, 3), (5, 1, NULL, 3), (6, 2, 5, 2);
SELECT tide.register_table('app.node', owner_column => 'owner');`

// Triggers that write to the row's own table: in the statement's captures the last image comes first.
const triggerSetup = taskSetup + `
CREATE FUNCTION app.again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.title = 'move' THEN
		UPDATE app.task SET owner = 9, title = 'moved' WHERE id = NEW.id;
	ELSIF NEW.title = 'kill' THEN
		DELETE FROM app.task WHERE id = NEW.id;
	ELSIF NEW.title IN ('first', 'new') THEN
		UPDATE app.task SET title = 'second', owner = owner + 1 WHERE id = NEW.id;
		UPDATE app.task SET secret = 'touched' WHERE id = NEW.id + 3;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER again AFTER INSERT OR UPDATE ON app.task FOR EACH ROW EXECUTE FUNCTION app.again();
SELECT tide.refresh('app.task');`

func TestEveryWayToWriteGivesItsBundle(t *testing.T) {
	t.Parallel()
	for name, c := range writeCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, c.setup)
			held := newFold(t, db)
			before := value[int64](t, db, `SELECT tide.head()`)
			inTransaction(t, db, c.write)
			held.check(t)
			if c.want == nil {
				return
			}
			// Rows of one statement have no order of their own.
			got := changesOf(t, db, before)
			slices.Sort(got)
			want := slices.Sorted(slices.Values(c.want))
			if !slices.Equal(got, want) {
				t.Errorf("the bundle has\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
}

// The same writes again, each statement a transaction of its own, must end in the same rows.
func TestEveryWayToWriteInSingleStatements(t *testing.T) {
	t.Parallel()
	for name, c := range writeCases {
		if strings.Contains(strings.Join(c.write, " "), "SAVEPOINT") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, c.setup)
			held := newFold(t, db)
			for _, statement := range c.write {
				if _, err := db.Exec(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
				held.check(t)
			}
		})
	}
}

func TestCopyIsCaptured(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	held := newFold(t, db)
	conn := db.Connect(t, db.URL)
	if _, err := conn.PgConn().CopyFrom(t.Context(), strings.NewReader("20\t1\tcopied\t\\N\n21\t2\tcopied\t\\N\n"), `COPY app.task FROM STDIN`); err != nil {
		t.Fatal(err)
	}
	held.check(t)
	if got := held.buckets["user:1"].rows[`app.task{"id":"20"}`]; !strings.Contains(got, "copied") {
		t.Errorf("the copied row is %q on the device", got)
	}
}

func inTransaction(t *testing.T, db *pgtest.DB, statements []string) {
	t.Helper()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // committed, unless the test failed
	for _, s := range statements {
		if _, err := tx.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}
