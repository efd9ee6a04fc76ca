package logtest

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// refused fails the test unless err has the SQLSTATE and a HINT that contains hint.
func refused(t *testing.T, err error, code, hint string) {
	t.Helper()
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		t.Errorf("got %v, want SQLSTATE %s", err, code)
		return
	}
	if pgErr.Code != code || pgErr.Hint == "" || !strings.Contains(pgErr.Hint, hint) {
		t.Errorf("got %s %q, HINT %q; want %s and %q in the hint", pgErr.Code, pgErr.Message, pgErr.Hint, code, hint)
	}
}

func TestWhatCannotBeRegisteredIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ setup, call, code, hint string }{
		"a view":                {`CREATE VIEW app.v AS SELECT 1 AS id`, `'app.v', bucket => 'b'`, "TD001", ""},
		"an unlogged table":     {`CREATE UNLOGGED TABLE app.u (id int PRIMARY KEY)`, `'app.u', bucket => 'b'`, "TD001", ""},
		"a system table":        {`SELECT`, `'pg_catalog.pg_class', bucket => 'b'`, "TD001", ""},
		"a table of pgtide":     {`SELECT`, `'tide.setting', bucket => 'b'`, "TD001", ""},
		"a partition":           {`CREATE TABLE app.p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE app.p1 PARTITION OF app.p DEFAULT`, `'app.p1', bucket => 'b'`, "TD001", ""},
		"an inheritance child":  {`CREATE TABLE app.c () INHERITS (app.t)`, `'app.c', bucket => 'b'`, "TD001", ""},
		"an inheritance parent": {`CREATE TABLE app.c () INHERITS (app.t)`, `'app.t', bucket => 'b'`, "TD001", ""},
		"no key":                {`CREATE TABLE app.n (id int)`, `'app.n', bucket => 'b'`, "TD002", "primary key"},
		"a deferrable key":      {`CREATE TABLE app.d (id int PRIMARY KEY DEFERRABLE)`, `'app.d', bucket => 'b'`, "TD002", "primary key"},
		"a nullable key":        {`CREATE TABLE app.n (id int UNIQUE)`, `'app.n', bucket => 'b', key_columns => '{id}'`, "TD002", "key_columns"},
		"an unknown column":     {`SELECT`, `'app.t', owner_column => 'nobody'`, "TD003", "id, owner, note"},
		"an unknown exclusion":  {`SELECT`, `'app.t', bucket => 'b', exclude_columns => '{nothing}'`, "TD003", "id, owner, note"},
		"an excluded key":       {`SELECT`, `'app.t', bucket => 'b', exclude_columns => '{id}'`, "TD003", "key"},
		"no rule":               {`SELECT`, `'app.t'`, "TD004", "owner_column"},
		"two rules":             {`SELECT`, `'app.t', owner_column => 'owner', bucket => 'b'`, "TD004", "owner_column"},
		"no such function":      {`SELECT`, `'app.t', bucket_function => 'app.nothing'`, "TD005", "IMMUTABLE"},
		"no such schema":        {`SELECT`, `'app.t', bucket_function => 'nowhere.nothing'`, "TD005", "IMMUTABLE"},
		"a volatile function":   {`CREATE FUNCTION app.f(app.t) RETURNS text LANGUAGE sql AS 'SELECT ''a'''`, `'app.t', bucket_function => 'app.f'`, "TD005", "IMMUTABLE"},
		"a function of nothing": {`CREATE FUNCTION app.f() RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT ''a'''`, `'app.t', bucket_function => 'app.f()'`, "TD005", ""},
		"an unknown policy":     {`SELECT`, `'app.t', bucket => 'b', on_capture_error => 'ignore'`, "TD006", "mark_dirty"},
		"an empty bucket":       {`SELECT`, `'app.t', bucket => ''`, "TD006", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, `CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, owner int, note text)`, c.setup)
			_, err := db.Exec(t.Context(), `SELECT tide.register_table(`+c.call+`)`)
			refused(t, err, c.code, c.hint)
			none(t, db, "triggers left behind", `SELECT tgname FROM pg_trigger WHERE tgname ~ '^_tide'`)
			none(t, db, "registrations left behind", `SELECT * FROM tide.synced_table`)
		})
	}
}

func TestErrorsOfReadingAndSealing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	for name, c := range map[string]struct{ call, code, hint string }{
		"below the floor":          {`SELECT tide.pull('user:1', 0)`, "TD014", "snapshot"},
		"beyond the head":          {`SELECT tide.pull('user:1', 99)`, "TD014", "snapshot"},
		"a bucket never seen":      {`SELECT tide.pull('user:77', 1)`, "TD014", "snapshot"},
		"buckets below a floor":    {`SELECT tide.pull('{user:1,user:2}'::text[], 0)`, "TD014", "snapshot"},
		"a page of nothing":        {`SELECT tide.pull('user:1', 1, 0)`, "TD018", "max_bundles"},
		"a page of no bytes":       {`SELECT tide.pull('user:1', 1, 1, 0)`, "TD018", "max_bytes"},
		"no such bundle":           {`SELECT tide.bundle_rows('user:1', 5)`, "TD014", "snapshot"},
		"an origin of nobody":      {`SELECT tide.set_origin('', 1)`, "TD017", "1, 2, 3"},
		"an origin without number": {`SELECT tide.set_origin('a', 0)`, "TD017", "1, 2, 3"},
		"not registered":           {`SELECT tide.refresh('pg_catalog.pg_class')`, "TD009", "tide.tables"},
		"not registered either":    {`SELECT tide.unregister_table('pg_catalog.pg_class')`, "TD009", "tide.tables"},
		"a key that does not fit":  {`SELECT tide.row_history('app.task', '{"nr": 1}')`, "TD003", "id"},
		"too long a bucket":        {`UPDATE app.task SET title = 'x' WHERE id = 1; SELECT tide.owner_bucket('user:', repeat('x', 600))`, "TD013", "short"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := db.Exec(t.Context(), c.call)
			refused(t, err, c.code, c.hint)
		})
	}
	if rows := value[int](t, db, `SELECT count(*) FROM tide.pull('user:77', 0)`); rows != 0 {
		t.Errorf("a bucket nobody wrote to has %d changes", rows)
	}
}

func TestSealRefusesATransactionThatHasChanges(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	held := newFold(t, db)
	conn := db.Connect(t, db.URL)
	must(t, conn, `BEGIN`, `UPDATE app.task SET title = 'mine' WHERE id = 1`)
	_, err := conn.Exec(t.Context(), `SELECT tide.seal()`)
	refused(t, err, "TD010", "Commit")
	must(t, conn, `ROLLBACK`)

	// Captured after the seal in the same transaction: the next seal takes it.
	// Another one ends in between, so that the snapshot of the seal reaches beyond this transaction.
	must(t, conn, `BEGIN`, `SELECT pg_current_xact_id()`)
	exec(t, db, `UPDATE app.task SET title = 'theirs' WHERE id = 2`)
	must(t, conn, `SELECT tide.seal()`, `UPDATE app.task SET title = 'after' WHERE id = 4`, `COMMIT`)
	held.check(t)
	if got := held.buckets["user:1"].rows[`app.task{"id":"4"}`]; !strings.Contains(got, "after") {
		t.Errorf("the change made after the seal is lost: %s", got)
	}
}

func TestSealInRepeatableRead(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	held := newFold(t, db)
	conn := db.Connect(t, db.URL)
	must(t, conn, `BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT 1`)
	exec(t, db, `UPDATE app.task SET title = 'a' WHERE id = 1`)
	must(t, conn, `SELECT tide.seal()`, `COMMIT`)
	must(t, conn, `BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT count(*) FROM app.task`)
	exec(t, db, `UPDATE app.task SET title = 'b' WHERE id = 1`)
	seal(t, db)
	// A rival sealed after this snapshot: nothing may be sealed twice.
	_, err := conn.Exec(t.Context(), `SELECT tide.seal()`)
	var pgErr *pgconn.PgError
	if err != nil && (!errors.As(err, &pgErr) || pgErr.Code != "40001") {
		t.Errorf("got %v, want a serialization failure or nothing", err)
	}
	must(t, conn, `ROLLBACK`)
	must(t, conn, `BEGIN ISOLATION LEVEL SERIALIZABLE`, `SELECT tide.seal()`, `COMMIT`)
	held.check(t)
}

// After a dump is restored elsewhere, transaction ids start anew: every change would look sealed.
func TestARestoredDumpIsNoticed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	exec(t, db, `INSERT INTO tide.seal_log (seal_id, last_bundle_id, last_change_id, snap) SELECT max(seal_id) + 1, max(last_bundle_id), max(last_change_id), '99999999999:99999999999:' FROM tide.seal_log`,
		`UPDATE app.task SET title = 'x' WHERE id = 1`)
	_, err := db.Exec(t.Context(), `SELECT tide.seal()`)
	refused(t, err, "TD016", "new history")
}

// Columns may have any name, also those that the written functions use themselves.
func TestColumnsNamedLikeOurOwn(t *testing.T) {
	t.Parallel()
	for _, trigger := range []string{"", `CREATE TRIGGER again AFTER UPDATE ON app.t FOR EACH ROW EXECUTE FUNCTION app.again();`} {
		db := pgtest.New(t)
		exec(t, db, `CREATE SCHEMA app; CREATE TABLE app.t (row_key int, old int, image text, ordinal int, buckets int, payload text, op text, n int, o int, c int, p int, t int, i int, v_rows int,
			v_order int, v_nested int, inserted int, updated int, before int, deleted int, table_id int, change_id int, key_hash int, old_buckets int, few int, relation int, event int,
			"order" int, "select" int, PRIMARY KEY (row_key, old));
			CREATE FUNCTION app.again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n < 3 THEN UPDATE app.t SET n = t.n + 1 WHERE t.row_key = NEW.row_key; END IF; RETURN NULL; END $$; `+trigger+`
			SELECT tide.register_table('app.t', owner_column => 'buckets')`)
		held := newFold(t, db)
		exec(t, db, `INSERT INTO app.t (row_key, old, buckets) SELECT g, g, g % 2 FROM generate_series(1, 5) AS g`, `UPDATE app.t SET n = 1, buckets = 1 - buckets`,
			`UPDATE app.t SET n = 1 WHERE row_key = 1`, `UPDATE app.t SET old = old + 10 WHERE row_key < 3`, `DELETE FROM app.t WHERE row_key = 3`, `TRUNCATE app.t`, `INSERT INTO app.t (row_key, old, buckets) VALUES (1, 1, 1)`)
		held.check(t)
	}
}
