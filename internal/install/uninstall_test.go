package install_test

import (
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// An application with one of everything that registering touches, or that could be mistaken for it.
var application = []string{
	`CREATE ROLE app_owner LOGIN`, `CREATE ROLE app_user LOGIN`, `CREATE ROLE auditor NOLOGIN`, `GRANT auditor TO app_user`,
	`COMMENT ON ROLE auditor IS 'looks, and does not touch'`,
	`CREATE SCHEMA app AUTHORIZATION app_owner`, `CREATE SCHEMA "Odd Schema" AUTHORIZATION app_owner`, `COMMENT ON SCHEMA app IS 'the application'`,
	`GRANT USAGE ON SCHEMA app TO app_user WITH GRANT OPTION`,
	`ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT SELECT ON TABLES TO auditor`,
	`ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC`,
	`SET ROLE app_owner`,
	`CREATE TABLE app.task (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner int, title text NOT NULL DEFAULT 'new', parent bigint REFERENCES app.task ON DELETE CASCADE)`,
	`COMMENT ON TABLE app.task IS 'what is to be done'`, `COMMENT ON COLUMN app.task.owner IS 'whose'`,
	`CREATE INDEX task_owner ON app.task (owner)`, `COMMENT ON INDEX app.task_owner IS 'finds it'`,
	`GRANT SELECT, INSERT (title) ON app.task TO app_user`,
	`CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := trim(NEW.title); RETURN NEW; END $$`,
	`CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON app.task FOR EACH ROW EXECUTE FUNCTION app.touch()`, `COMMENT ON TRIGGER touch ON app.task IS 'tidies'`,
	`CREATE TABLE app.secret (id uuid PRIMARY KEY, owner int, body text)`,
	`ALTER TABLE app.secret ENABLE ROW LEVEL SECURITY`, `ALTER TABLE app.secret FORCE ROW LEVEL SECURITY`,
	`CREATE POLICY own ON app.secret TO app_user USING (owner = 1) WITH CHECK (owner = 1)`, `COMMENT ON POLICY own ON app.secret IS 'his own'`,
	`CREATE TABLE app.event (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)`,
	`CREATE TABLE app.event_2025 PARTITION OF app.event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')`,
	`CREATE TABLE app.event_rest PARTITION OF app.event DEFAULT`,
	`CREATE TABLE "Odd Schema"."Odd ""Table""" ("Key" text PRIMARY KEY, "Wert" numeric(10,2))`,
	`CREATE TABLE app.unregistered (id int PRIMARY KEY)`,
	`CREATE FUNCTION app.bucket_of(app.event) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'year:' || extract(year FROM $1.at) $$`,
	`GRANT EXECUTE ON FUNCTION app.bucket_of(app.event) TO PUBLIC`,
	`CREATE VIEW app.open_task AS SELECT * FROM app.task WHERE title <> ''`, `COMMENT ON VIEW app.open_task IS 'not done'`,
	`INSERT INTO app.task (owner, title) VALUES (1, 'one'), (2, 'two')`, `INSERT INTO app.event VALUES (1, '2025-05-05'), (2, '2030-01-01')`,
	`RESET ROLE`,
}

// everything is the catalog outside of schema tide, with what belongs to no schema.
func everything(t *testing.T, db *pgtest.DB) []string {
	t.Helper()
	lines := pgtest.Catalog(t, db, "")
	lines = append(lines, query(t, db, `SELECT format('role %s %s', r.rolname, to_jsonb(r) - 'oid') FROM pg_roles AS r WHERE r.rolname !~ '^pg_'`)...)
	lines = append(lines, query(t, db, `SELECT format('member %s of %s admin %s by %s', m.member::regrole, m.roleid::regrole, m.admin_option, m.grantor::regrole) FROM pg_auth_members AS m`)...)
	lines = append(lines, query(t, db, `
		SELECT format('comment on %s %s: %s', o.type, o.identity, d.description)
		  FROM pg_description AS d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS o
		 WHERE o.schema IS DISTINCT FROM 'pg_catalog' AND o.schema IS DISTINCT FROM 'information_schema' AND d.objoid >= 16384`)...)
	lines = append(lines, query(t, db, `SELECT format('comment on role %s: %s', d.objoid::regrole, d.description) FROM pg_shdescription AS d WHERE d.classoid = 'pg_authid'::regclass`)...)
	lines = append(lines, query(t, db, `SELECT format('relation %s.%s', relnamespace::regnamespace, relname) FROM pg_class WHERE oid >= 16384 AND relnamespace::regnamespace::text !~ '^pg_'`)...)
	lines = append(lines, query(t, db, `SELECT format('event trigger %s', evtname) FROM pg_event_trigger`)...)
	return append(lines, query(t, db, `SELECT format('database %s %s', datacl, datdba::regrole) FROM pg_database WHERE datname = current_database()`)...)
}

func TestUninstallingLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := emptyOn(t, cluster)
	onOneConnection(t, db, application)
	before := everything(t, db)

	if _, err := install.Up(t.Context(), db.URL); err != nil {
		t.Fatal(err)
	}
	must(t, db,
		`SELECT tide.register_table('app.task', owner_column => 'owner')`,
		`SELECT tide.register_table('app.secret', owner_column => 'owner', null_owner_bucket => 'global')`,
		`SELECT tide.register_table('app.event', bucket_function => 'app.bucket_of')`,
		`SELECT tide.register_table('"Odd Schema"."Odd ""Table"""', bucket => 'global')`,
		`SELECT tide.register_table('app.unregistered', bucket => 'global')`,
		`INSERT INTO app.task (owner, title) VALUES (3, 'three')`, `UPDATE app.event SET at = '2025-06-06' WHERE id = 2`,
		`SELECT tide.seal()`,
		`SELECT tide.unregister_table('app.unregistered')`,
		`DELETE FROM app.task WHERE owner = 3`, `UPDATE app.event SET at = '2030-01-01' WHERE id = 2`,
		`SELECT tide.pause()`,
	)
	var said []string
	if err := install.UninstallSaying(t.Context(), db.URL, func(line string) { said = append(said, line) }); err != nil {
		t.Fatal(err)
	}
	pgtest.SameCatalog(t, "after uninstalling", everything(t, db), before)
	want := []string{`unregistered "Odd Schema"."Odd ""Table"""`, `unregistered app.event`, `unregistered app.secret`, `unregistered app.task`,
		`dropped schema tide`, `dropped table public.tide_goose_version`}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("said:\n%s\nwant:\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}

	// It can come again, and go by stock goose, which keeps its own table.
	if _, err := install.Up(t.Context(), db.URL); err != nil {
		t.Fatal(err)
	}
	must(t, db, `SELECT tide.register_table('app.secret', owner_column => 'owner')`)
	if err := stockGooseDown(t, db.URL); err != nil {
		t.Fatal(err)
	}
	must(t, db, `DROP TABLE public.tide_goose_version`)
	pgtest.SameCatalog(t, "after goose down-to 0", everything(t, db), before)
}

// One of the tables is not the installer's any more.
func TestAnUninstallThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := emptyOn(t, cluster)
	must(t, db, `CREATE ROLE installer LOGIN CREATEROLE`, `ALTER SCHEMA public OWNER TO installer`,
		`DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO installer', current_database()); END $$`,
		`CREATE TABLE public.theirs (id int PRIMARY KEY)`)
	if _, err := install.Up(t.Context(), db.As("installer")); err != nil {
		t.Fatal(err)
	}
	must(t, db, `SELECT tide.register_table('public.theirs', bucket => 'global')`)
	before := append(everything(t, db), state(t, db)...)
	err := install.Uninstall(t.Context(), db.As("installer"))
	if err == nil || !strings.Contains(err.Error(), "theirs") {
		t.Errorf("got %v, want an error that names the table", err)
	}
	pgtest.SameCatalog(t, "after a failure", append(everything(t, db), state(t, db)...), before)
	if err := install.Uninstall(t.Context(), db.URL); err != nil {
		t.Error(err)
	}
}

func TestUninstallingWhatIsNotInstalled(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	var said []string
	if err := install.UninstallSaying(t.Context(), db.URL, func(line string) { said = append(said, line) }); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "nothing to do") {
		t.Errorf("said %q", said)
	}
}

// onOneConnection runs statements among which are SET ROLE and RESET ROLE.
func onOneConnection(t *testing.T, db *pgtest.DB, statements []string) {
	t.Helper()
	conn := db.Connect(t, db.URL)
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
