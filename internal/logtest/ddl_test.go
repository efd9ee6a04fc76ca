package logtest

import (
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// After DDL, the next writes are captured at once under the names devices know, tide.check() says
// what changed, and tide.refresh makes the names of now known.
func TestDDLLosesNoWrite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ddl     string
		write   string
		payload string // part of the payload of row 1 before the refresh
		finding string // part of what check says
		after   string // part of the payload of row 1 after refresh and one more write
	}{
		"add a column": {`ALTER TABLE app.task ADD COLUMN extra int DEFAULT 7`, `UPDATE app.task SET title = 'x', extra = 8 WHERE id = 1`,
			`"title":"x","secret":null}`, "Added: extra", `"extra":8`},
		"drop a column": {`ALTER TABLE app.task DROP COLUMN secret`, `UPDATE app.task SET title = 'x' WHERE id = 1`,
			`"title":"x"}`, "Dropped: secret", `"title":"x"}`},
		"rename a column": {`ALTER TABLE app.task RENAME COLUMN title TO name`, `UPDATE app.task SET name = 'x' WHERE id = 1`,
			`"title":"x"`, "Renamed: title to name", `"name":"x"`},
		"rename the owner column": {`ALTER TABLE app.task RENAME COLUMN owner TO user_id`, `UPDATE app.task SET title = 'x', user_id = 1 WHERE id = 1`,
			`"owner":1`, "Renamed: owner to user_id", `"user_id":1`},
		"rename the key column": {`ALTER TABLE app.task RENAME COLUMN id TO task_id`, `UPDATE app.task SET title = 'x' WHERE task_id = 1`,
			`"id":1`, "Renamed: id to task_id", `"task_id":1`},
		"retype a column": {`ALTER TABLE app.task ALTER COLUMN title TYPE jsonb USING to_jsonb(title)`, `UPDATE app.task SET title = '{"a":1}' WHERE id = 1`,
			`"title":{"a": 1}`, "", `"title":{"a": 1}`},
		"drop one column, rename another": {`ALTER TABLE app.task DROP COLUMN secret; ALTER TABLE app.task RENAME COLUMN title TO name`, `UPDATE app.task SET name = 'x' WHERE id = 1`,
			`"title":"x"}`, "Renamed: title to name", `"name":"x"}`},
		"rename the table": {`ALTER TABLE app.task RENAME TO job`, `UPDATE app.job SET title = 'x' WHERE id = 1`,
			`"title":"x"`, "Renamed to app.job", `"title":"x"`},
		"another schema": {`CREATE SCHEMA other; ALTER TABLE app.task SET SCHEMA other; GRANT USAGE ON SCHEMA other TO tide_owner`, `UPDATE other.task SET title = 'x' WHERE id = 1`,
			`"title":"x"`, "Renamed to other.task", `"title":"x"`},
		"a row trigger": {`CREATE FUNCTION app.t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.title = 'x' THEN UPDATE app.task SET title = 'y' WHERE id = NEW.id; END IF; RETURN NULL; END $$;
			CREATE TRIGGER t AFTER UPDATE ON app.task FOR EACH ROW EXECUTE FUNCTION app.t()`, `UPDATE app.task SET title = 'x' WHERE id = 1`,
			`"title":"y"`, "missing on app.task: _tide_order_delete, _tide_order_insert, _tide_order_update", `"title":"z"`},
	} {
		test := func(t *testing.T, before ...string) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, taskSetup)
			exec(t, db, before...)
			seal(t, db)
			// A session that has captured before: its plans are cached, and must notice.
			conn := db.Connect(t, db.URL)
			must(t, conn, `UPDATE app.task SET title = 'before' WHERE id = 1`, `INSERT INTO app.task VALUES (50, 1, 'x')`, `DELETE FROM app.task WHERE id = 50`)
			exec(t, db, c.ddl)
			must(t, conn, c.write)
			seal(t, db)
			const newest = `SELECT payload::text FROM tide.changes WHERE payload IS NOT NULL AND coalesce(key ->> 'id', key ->> 'task_id') = '1' ORDER BY bundle_id DESC LIMIT 1`
			if got := value[string](t, db, newest); !strings.Contains(got, c.payload) {
				t.Errorf("captured %s, want %s in it", got, c.payload)
			}
			findings := value[string](t, db, `SELECT coalesce(string_agg(concat_ws(' ', finding, detail, remedy), E'\n'), '') FROM tide.check()`)
			if !strings.Contains(findings, c.finding) {
				t.Errorf("check says %q, want %q in it", findings, c.finding)
			}
			exec(t, db, `SELECT tide.refresh((SELECT relation FROM tide.tables))`)
			seal(t, db)
			must(t, conn, strings.Replace(c.write, "'x'", "'z'", 1))
			seal(t, db)
			if got := value[string](t, db, newest); !strings.Contains(got, strings.Replace(c.after, `"x"`, `"z"`, 1)) {
				t.Errorf("after the refresh captured %s, want %s in it", got, c.after)
			}
			none(t, db, "findings after the refresh", `SELECT * FROM tide.check()`)
			held := newFold(t, db)
			held.check(t)
		}
		t.Run(name, func(t *testing.T) { test(t) })
		if name == "a row trigger" {
			continue
		}
		// Rows are read back there.
		t.Run(name+", beside a row trigger", func(t *testing.T) {
			test(t, `CREATE FUNCTION app.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; RETURN NULL; END $$`,
				`CREATE TRIGGER look AFTER INSERT OR UPDATE OR DELETE ON app.task FOR EACH ROW EXECUTE FUNCTION app.look()`, `SELECT tide.refresh('app.task')`)
		})
	}
}

func TestMaintainWritesCaptureAnewAfterDDL(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `ALTER TABLE app.task RENAME COLUMN title TO name`)
	if got := value[string](t, db, `SELECT string_agg(m, '; ') FROM tide.maintain() AS m`); !strings.Contains(got, "app.task") {
		t.Errorf("maintain did %q", got)
	}
	none(t, db, "capture functions that are not current", `SELECT * FROM tide.check() WHERE finding ~ 'capture functions'`)
	exec(t, db, `UPDATE app.task SET name = 'x' WHERE id = 1`)
	seal(t, db)
	if got := value[string](t, db, `SELECT payload ->> 'title' FROM tide.changes WHERE key ->> 'id' = '1'`); got != "x" {
		t.Errorf("devices know title as %q, want x", got)
	}
}

func TestANewPartitionIsReportedAndRefreshTakesItIn(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, partitionedSetup)
	held := newFold(t, db)
	exec(t, db, `CREATE TABLE app.event_more PARTITION OF app.event FOR VALUES FROM (30) TO (40)`, `INSERT INTO app.event VALUES (31, 1, 31)`)
	held.check(t)
	if got := value[int](t, db, `SELECT count(*) FROM tide.check() WHERE finding ~ 'missing on app.event_more: _tide_delete, _tide_insert, _tide_truncate, _tide_update' AND remedy ~ 'tide.refresh'`); got != 1 {
		t.Errorf("check has %d findings about the new partition's triggers, want 1", got)
	}
	exec(t, db, `INSERT INTO app.event_more VALUES (32, 1, 32)`, `SELECT tide.refresh('app.event')`)
	held = newFold(t, db)
	exec(t, db, `INSERT INTO app.event_more VALUES (33, 1, 33)`)
	held.check(t)
	exec(t, db, `ALTER TABLE app.event DETACH PARTITION app.event_low`)
	if got := value[int](t, db, `SELECT count(*) FROM tide.check() WHERE finding = 'partitions were detached' AND severity = 'error'`); got != 1 {
		t.Errorf("check has %d findings about the detached partition, want 1", got)
	}
	exec(t, db, `SELECT tide.refresh('app.event')`)
	held.check(t)
	none(t, db, "rows of the detached partition in a snapshot's place", `SELECT * FROM tide.check()`)
}

// What a device needs is gone: the write says so, with the way out.
func TestALostKeyColumnFailsTheWriteWithAHint(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `ALTER TABLE app.task DROP COLUMN owner`)
	_, err := db.Exec(t.Context(), `INSERT INTO app.task VALUES (20, 'x')`)
	refused(t, err, "TD012", "tide.register_table")
	exec(t, db, `SELECT tide.register_table('app.task', bucket => 'global')`, `INSERT INTO app.task VALUES (20, 'x')`)
	held := newFold(t, db)
	held.check(t)
}

// Writes go on without it, snapshots cannot: they say so, and what to do.
func TestALostKeyIndexFailsSnapshotsWithAHint(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `ALTER TABLE app.task DROP CONSTRAINT task_pkey`, `INSERT INTO app.task VALUES (20, 1, 'x')`)
	_, err := db.Exec(t.Context(), `SELECT tide.snapshot_source(1, 'user:1')`)
	refused(t, err, "TD012", "Create it again")
	_, err = db.Exec(t.Context(), `SELECT tide.rows_source(1, '{user:1}', '{"user:1":0}')`)
	refused(t, err, "TD012", "Create it again")
	exec(t, db, `ALTER TABLE app.task ADD PRIMARY KEY (id)`, `SELECT tide.snapshot_source(1, 'user:1')`)
	held := newFold(t, db)
	held.check(t)
}

// A bucket function is found again where its table or its schema got another name: no write fails, no row leaves its
// bucket, and maintenance and refresh go on.
func TestBucketFunctionsFollowWhatIsRenamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ ddl, table string }{
		"the table":                  {`ALTER TABLE app.doc RENAME TO paper`, "app.paper"},
		"the table moves":            {`ALTER TABLE app.doc SET SCHEMA other`, "other.doc"},
		"the schema of both":         {`ALTER SCHEMA app RENAME TO office`, "office.doc"},
		"the schema of the function": {`ALTER SCHEMA rule RENAME TO law`, "app.doc"},
		"all":                        {`ALTER TABLE app.doc RENAME TO paper; ALTER SCHEMA app RENAME TO office; ALTER SCHEMA rule RENAME TO law`, "office.paper"},
	} {
		for _, volatility := range []string{"IMMUTABLE", "STABLE"} {
			for _, schema := range []string{"app", "rule"} {
				t.Run(name+" renamed, "+volatility+" in "+schema, func(t *testing.T) {
					t.Parallel()
					db := pgtest.New(t)
					exec(t, db, `CREATE SCHEMA app; CREATE SCHEMA other; CREATE SCHEMA rule; GRANT USAGE ON SCHEMA other TO tide_owner;
						CREATE TABLE app.doc (id int PRIMARY KEY, team int, title text);
						CREATE FUNCTION `+schema+`.teams(d app.doc) RETURNS text[] LANGUAGE sql `+volatility+` AS $$ SELECT ARRAY['team:' || d.team] $$;
						GRANT USAGE ON SCHEMA rule TO tide_owner;
						SELECT tide.register_table('app.doc', bucket_function => '`+schema+`.teams')`, `SELECT tide.seal()`,
						`INSERT INTO app.doc VALUES (1, 1, 'a')`, `SELECT tide.seal()`)
					open := db.Connect(t, db.URL)
					must(t, open, `INSERT INTO app.doc VALUES (2, 1, 'b')`, `SELECT tide.seal()`)
					exec(t, db, c.ddl)
					held := func(want string) {
						t.Helper()
						seal(t, db)
						const rows = `SELECT string_agg(key ->> 'id' || op, ' ' ORDER BY (key ->> 'id')::int) FROM (SELECT DISTINCT ON (key ->> 'id') key, left(op, 1) AS op FROM tide.changes WHERE bucket_id = 'team:1' AND key IS NOT NULL ORDER BY key ->> 'id', bundle_id DESC) AS c`
						if got := value[string](t, db, rows); got != want {
							t.Errorf("devices hold %s, want %s", got, want)
						}
						none(t, db, "rows that could not be judged", `SELECT * FROM tide.bucket_failures`)
					}
					must(t, open, `INSERT INTO `+c.table+` VALUES (3, 1, 'c')`)
					exec(t, db, `INSERT INTO `+c.table+` VALUES (4, 1, 'd')`)
					held("1I 2I 3I 4I")
					none(t, db, "errors", `SELECT * FROM tide.check() WHERE severity = 'error'`)
					exec(t, db, `SELECT tide.maintain()`, `INSERT INTO `+c.table+` VALUES (5, 1, 'e')`)
					must(t, open, `UPDATE `+c.table+` SET title = 'x' WHERE id = 3`)
					held("1I 2I 3U 4I 5I")
					exec(t, db, `SELECT tide.refresh('`+c.table+`')`)
					must(t, open, `INSERT INTO `+c.table+` VALUES (6, 1, 'f')`)
					seal(t, db)
					none(t, db, "findings after the refresh", `SELECT * FROM tide.check()`)
				})
			}
		}
	}
}

// Where it is gone for good, nothing is captured as if no rule were there, the other tables are maintained, and what is
// said leads on.
func TestBucketFunctionsThatAreGone(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `
		CREATE TABLE app.doc (id int PRIMARY KEY, team int);
		CREATE FUNCTION app.teams(d app.doc) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'team:' || d.team $$;
		SELECT tide.register_table('app.doc', bucket_function => 'app.teams')`, `SELECT tide.seal()`,
		`ALTER FUNCTION app.teams RENAME TO teams_of; ALTER TABLE app.task ADD COLUMN more int`)
	for _, statement := range []string{`INSERT INTO app.doc VALUES (1, 1)`, `SELECT tide.refresh('app.doc')`} {
		_, err := db.Exec(t.Context(), statement)
		refused(t, err, "TD005", "")
	}
	if got := value[string](t, db, `SELECT string_agg(m, E'\n') FROM tide.maintain() AS m`); !strings.Contains(got, "app.doc: the bucket function") || !strings.Contains(got, "capture functions of app.task anew") {
		t.Errorf("maintenance said %q", got)
	}
	none(t, db, "findings about the function", `SELECT count(*) FROM tide.check() WHERE finding = 'the bucket function is gone' HAVING count(*) <> 1`)
	exec(t, db, `SELECT tide.register_table('app.doc', bucket_function => 'app.teams_of')`, `INSERT INTO app.doc VALUES (1, 1)`)
	none(t, db, "errors", `SELECT * FROM tide.check() WHERE severity = 'error'`)

	exec(t, db, `CREATE FUNCTION app.reads(u text) RETURNS SETOF text LANGUAGE sql STABLE AS $$ SELECT 'team:1' $$; CREATE FUNCTION app.told(e jsonb) RETURNS void LANGUAGE sql AS '';
		SELECT tide.set_bucket_access('app.reads'), tide.set_hook('on_seal', 'app.told')`,
		`DROP FUNCTION app.reads, app.told`)
	const gone = `SELECT string_agg(finding, ', ' ORDER BY finding) FROM tide.check() WHERE severity = 'error'`
	if got := value[string](t, db, gone); got != "the function of bucket access is gone, the function of hook on_seal is gone" {
		t.Errorf("tide.check() says %q", got)
	}
}
