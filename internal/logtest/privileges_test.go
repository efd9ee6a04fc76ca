package logtest

import (
	"context"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// Managed services give no superuser. Installing, registering and running must do with a role that
// owns the database and may make roles, or with roles the DBA brings; also where row-level security
// hides rows.
func TestWithoutASuperuser(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]string{
		"a role that makes roles": `CREATE ROLE installer LOGIN CREATEROLE`,
		"roles brought by the DBA": `CREATE ROLE installer LOGIN; CREATE ROLE tide_owner; CREATE ROLE tide_runtime; CREATE ROLE tide_client;
			GRANT tide_owner TO installer; GRANT tide_client TO tide_runtime`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := pgtest.Private(t, pgtest.ClusterConfig{})
			super := connect(t, cluster.URL("postgres"))
			must(t, super, prepare, `CREATE ROLE application LOGIN`, `CREATE ROLE server LOGIN`, `CREATE DATABASE existing OWNER installer`)
			asInstaller, asServer := as(t, cluster, "installer"), as(t, cluster, "server")
			if _, err := install.Up(t.Context(), asInstaller); err != nil {
				t.Fatal(err)
			}
			db := &pgtest.DB{Pool: pool(t, asInstaller), URL: asInstaller}
			exec(t, db, `CREATE SCHEMA app; CREATE TABLE app.task (id int PRIMARY KEY, owner int, title text, secret text);
				INSERT INTO app.task SELECT g, g % 3, 't' || g FROM generate_series(1, 9) AS g;
				ALTER TABLE app.task ENABLE ROW LEVEL SECURITY; ALTER TABLE app.task FORCE ROW LEVEL SECURITY;
				CREATE POLICY own ON app.task TO application USING (owner = 1);
				CREATE TABLE app.plain (id int PRIMARY KEY, n int);
				GRANT USAGE ON SCHEMA app TO application; GRANT ALL ON ALL TABLES IN SCHEMA app TO application`)
			schema := pgtest.Catalog(t, db, "^app$")
			exec(t, db, `SELECT tide.register_table('app.task', owner_column => 'owner')`, `SELECT tide.register_table('app.plain', bucket => 'global')`)
			held := newFold(t, db)
			none(t, db, "findings", `SELECT * FROM tide.check()`)

			application := connect(t, as(t, cluster, "application"))
			must(t, application, `INSERT INTO app.task VALUES (20, 1, 'mine')`, `UPDATE app.task SET title = 'changed'`, `DELETE FROM app.task WHERE id = 1`, `INSERT INTO app.plain VALUES (1, 1)`, `TRUNCATE app.task`)
			must(t, super, `GRANT tide_runtime TO server`)
			server := connect(t, asServer)
			must(t, server, `SELECT tide.seal()`, `SELECT * FROM tide.pull('global', 0)`, `SELECT * FROM tide.status`, `SELECT tide.maintain()`, `SELECT * FROM tide.check()`)
			held.check(t)
			for _, statement := range []string{`SELECT * FROM tide.change_log`, `INSERT INTO tide.seal_log VALUES (99, gen_random_uuid(), 99, 99, pg_current_snapshot())`, `SELECT tide.pause()`} {
				if _, err := server.Exec(t.Context(), statement); err == nil {
					t.Errorf("tide_runtime may: %s", statement)
				}
			}
			_, err := application.Exec(t.Context(), `SELECT tide.register_table('app.plain', bucket => 'mine')`)
			if err == nil {
				t.Error("a role that owns nothing may register")
			}

			must(t, super, `REVOKE tide_runtime FROM server`)
			db.Close()
			if err := install.Uninstall(t.Context(), asInstaller); err != nil {
				t.Fatal(err)
			}
			db = &pgtest.DB{Pool: pool(t, asInstaller), URL: asInstaller}
			pgtest.SameCatalog(t, "after uninstalling", pgtest.Catalog(t, db, "^app$"), schema)
			var roles int
			if err := super.QueryRow(t.Context(), `SELECT count(*) FROM pg_roles WHERE rolname ~ '^tide_'`).Scan(&roles); err != nil {
				t.Fatal(err)
			}
			if made := name == "a role that makes roles"; made != (roles == 0) {
				t.Errorf("%d roles of pgtide remain", roles)
			}
		})
	}
}

func TestARestrictivePolicyIsRefusedWithTheWayOut(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY); ALTER TABLE app.t ENABLE ROW LEVEL SECURITY;
		CREATE POLICY never ON app.t AS RESTRICTIVE USING (id > 5)`)
	_, err := db.Exec(t.Context(), `SELECT tide.register_table('app.t', bucket => 'b')`)
	refused(t, err, "TD011", "ALTER POLICY")
	exec(t, db, `CREATE ROLE tide_test_reader`, `ALTER POLICY never ON app.t TO tide_test_reader`, `SELECT tide.register_table('app.t', bucket => 'b')`)
	exec(t, db, `DROP POLICY never ON app.t`, `DROP ROLE tide_test_reader`)
}

func as(t *testing.T, cluster *pgtest.Cluster, role string) string {
	t.Helper()
	u, err := url.Parse(cluster.URL("existing"))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the cluster may be gone
	return conn
}

func pool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	p, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
