package install_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// emptyOn returns a database without pgtide on a cluster of the test's own, where it may make roles.
func emptyOn(t *testing.T, cluster *pgtest.Cluster) *pgtest.DB {
	t.Helper()
	url := cluster.URL("postgres")
	config, err := pgxpool.ParseConfig(withPath(t, url, ""))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &pgtest.DB{Pool: pool, URL: url}
}

// Every way must refuse, with the same words.
func refused(t *testing.T, url, problem, hint string) {
	t.Helper()
	for _, name := range []string{"pgtide migrate up", "pgtide sql | psql"} {
		err := ways[name](t, url)
		var bookkeeping *install.BookkeepingError
		said := ""
		switch {
		case errors.As(err, &bookkeeping):
			said = bookkeeping.Problem + " " + bookkeeping.Hint
		case err != nil:
			said = err.Error()
		}
		if !strings.Contains(said, problem) || !strings.Contains(said, hint) {
			t.Errorf("%s: got %q, want %q and %q", name, said, problem, hint)
		}
	}
}

// From PostgreSQL 15 on, public belongs to the owner of the database, and others may not create there.
func TestAnInstallerThatMayNotCreateInPublic(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := emptyOn(t, cluster)
	must(t, db, `CREATE ROLE installer LOGIN CREATEROLE`, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`,
		`DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO installer', current_database()); END $$`)
	url := db.As("installer")
	refused(t, url, "no schema in which installer may make the table tide_goose_version", "GRANT CREATE ON SCHEMA public TO installer")

	must(t, db, `CREATE SCHEMA ours AUTHORIZATION installer`)
	for name, way := range ways {
		if err := way(t, withPath(t, url, "ours")); err != nil {
			t.Errorf("%s, with a schema of its own in the path: %v", name, err)
		}
	}
	if where := query(t, db, `SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'tide_goose_version'`); len(where) != 1 || where[0] != "ours" {
		t.Errorf("the bookkeeping is in %v", where)
	}
	if err := install.Uninstall(t.Context(), url); err != nil {
		t.Error(err)
	}
}

// Triggers on the table run as whoever installs, perhaps a superuser.
func TestATableOfAStrangerIsRefused(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := emptyOn(t, cluster)
	must(t, db, `CREATE ROLE stranger LOGIN`, `CREATE SCHEMA theirs AUTHORIZATION stranger`,
		`CREATE TABLE theirs.tide_goose_version (id int, version_id bigint, is_applied boolean, tstamp timestamp)`,
		`ALTER TABLE theirs.tide_goose_version OWNER TO stranger`)
	refused(t, db.URL, "theirs.tide_goose_version belongs to stranger", "drop it")
	must(t, db, `DROP TABLE theirs.tide_goose_version`)
	if _, err := install.Up(t.Context(), db.URL); err != nil {
		t.Fatal(err)
	}
	must(t, db, `CREATE TABLE theirs.tide_goose_version (id int, version_id bigint, is_applied boolean, tstamp timestamp)`)
	refused(t, db.URL, "several tables of applied migrations: public.tide_goose_version, theirs.tide_goose_version", "Drop those")
}
