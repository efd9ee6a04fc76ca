package install_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// The DBA made the roles, and perhaps granted some to others: what of that is there after
// uninstalling is what was there before installing.
func TestUninstallingRevokesWhatInstallingGrantedAndNothingElse(t *testing.T) {
	t.Parallel()
	const owned, client = "member installer of tide_owner", "member tide_runtime of tide_client"
	for name, c := range map[string]struct {
		prepare   []string // after the three roles and the installer are made
		installer string
		granted   []string // what the installation must add, or nothing else would be tested
		meanwhile []string
		uninstall string
		stays     []string
		says      string
	}{
		"nothing granted before, a superuser installs": {
			installer: "postgres", uninstall: "postgres", granted: []string{client},
		},
		"nothing granted before": {
			prepare:   []string{letInstallerGrant},
			installer: "installer", uninstall: "installer", granted: []string{owned, client},
		},
		"all granted before": {
			prepare:   []string{`GRANT tide_owner TO installer`, `GRANT tide_client TO tide_runtime`},
			installer: "installer", uninstall: "installer",
		},
		"half granted before": {
			prepare:   []string{letInstallerGrant, `GRANT tide_client TO tide_runtime`},
			installer: "installer", uninstall: "installer", granted: []string{owned},
		},
		"half of the roles made by the installation": {
			prepare:   []string{`DROP ROLE tide_client`, letInstallerGrant},
			installer: "installer", uninstall: "installer", granted: []string{owned, client},
		},
		"uninstalled by somebody else": {
			prepare:   []string{letInstallerGrant},
			installer: "installer", uninstall: "postgres", granted: []string{owned, client},
		},
		"granted to others meanwhile": {
			installer: "postgres", uninstall: "postgres", granted: []string{client},
			meanwhile: []string{`CREATE ROLE application`, `GRANT tide_client TO application`},
			stays:     []string{"member application of tide_client"},
		},
		"granted again by the DBA meanwhile": {
			installer: "postgres", uninstall: "postgres", granted: []string{client},
			meanwhile: []string{`GRANT tide_client TO tide_runtime WITH ADMIN OPTION`},
			stays:     []string{client},
		},
		"revoked by the DBA meanwhile": {
			installer: "postgres", uninstall: "postgres", granted: []string{client},
			meanwhile: []string{`REVOKE tide_client FROM tide_runtime`},
		},
		"the uninstaller may not revoke": {
			prepare:   []string{letInstallerGrant},
			installer: "installer", uninstall: "other", granted: []string{owned, client},
			meanwhile: []string{`CREATE ROLE other LOGIN`, `GRANT tide_owner TO other`, `ALTER TABLE public.tide_goose_version OWNER TO other`},
			stays:     []string{owned, "member other of tide_owner", client},
			says:      "to end it: REVOKE tide_client FROM tide_runtime",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := pgtest.Private(t, pgtest.ClusterConfig{})
			db := emptyOn(t, cluster)
			must(t, db, broughtRoles...)
			must(t, db, c.prepare...)
			before := everything(t, db)
			if _, err := install.Up(t.Context(), db.As(c.installer)); err != nil {
				t.Fatal(err)
			}
			if added := membershipsSince(t, db, before); !slices.Equal(added, c.granted) {
				t.Fatalf("the installation granted %q, want %q", added, c.granted)
			}
			must(t, db, c.meanwhile...)
			var said []string
			if err := install.UninstallSaying(t.Context(), db.As(c.uninstall), func(line string) { said = append(said, line) }); err != nil {
				t.Fatal(err)
			}
			if left := membershipsSince(t, db, before); !slices.Equal(left, c.stays) {
				t.Errorf("left: %q, want %q", left, c.stays)
			}
			if len(c.meanwhile) == 0 {
				pgtest.SameCatalog(t, "after uninstalling", everything(t, db), before)
			}
			if text := strings.Join(said, "\n"); !strings.Contains(text, c.says) || c.says == "" && strings.Contains(text, "stays") {
				t.Errorf("said:\n%s\nwant: %s", text, c.says)
			}
		})
	}
}

// Memberships belong to the cluster: another database with pgtide may have found them there, and need them.
func TestAMembershipStaysWhileAnotherDatabaseUsesIt(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := emptyOn(t, cluster)
	must(t, db, broughtRoles...)
	must(t, db, `CREATE DATABASE second`)
	before := everything(t, db)
	second := pgtest.WithDatabase(db.URL, "second")
	for _, url := range []string{db.URL, second} {
		if _, err := install.Up(t.Context(), url); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	if err := install.UninstallSaying(t.Context(), db.URL, func(line string) { said = append(said, line) }); err != nil {
		t.Fatal(err)
	}
	const revoke = "REVOKE tide_client FROM tide_runtime"
	if text := strings.Join(said, "\n"); !strings.Contains(text, "database second uses it; to end it: "+revoke) {
		t.Errorf("said:\n%s", text)
	}
	conn, err := pgx.Connect(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }() // the cluster goes with it
	if _, err := conn.Exec(t.Context(), `SET ROLE tide_runtime`); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `SET ROLE tide_client`); err != nil {
		t.Errorf("the other database: %v", err)
	}
	if err := install.Uninstall(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	must(t, db, revoke)
	pgtest.SameCatalog(t, "after both and the line that was said", everything(t, db), before)
}

// letInstallerGrant is what a role that is no superuser needs to grant the roles it did not make.
const letInstallerGrant = `DO $$
BEGIN
	ALTER ROLE installer CREATEROLE;
	IF current_setting('server_version_num')::int >= 160000 THEN
		EXECUTE 'GRANT tide_owner TO installer WITH ADMIN TRUE, INHERIT FALSE, SET FALSE';
		IF to_regrole('tide_client') IS NOT NULL THEN
			EXECUTE 'GRANT tide_client TO installer WITH ADMIN TRUE, INHERIT FALSE, SET FALSE';
		END IF;
	END IF;
END $$`

var broughtRoles = []string{
	`CREATE ROLE tide_owner`, `CREATE ROLE tide_runtime`, `CREATE ROLE tide_client`, `COMMENT ON ROLE tide_client IS 'as the DBA sees it'`,
	`CREATE ROLE installer LOGIN`, `ALTER SCHEMA public OWNER TO installer`,
	`DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO installer', current_database()); END $$`,
}

// membershipsSince lists the role memberships that were not there before, without how they were granted.
func membershipsSince(t *testing.T, db *pgtest.DB, before []string) []string {
	t.Helper()
	var added []string
	for _, line := range everything(t, db) {
		// What PostgreSQL gives whoever makes a role, without leave to use it, goes with the role.
		automatic := strings.Contains(line, "admin t by postgres") && strings.HasPrefix(line, "member installer")
		if strings.HasPrefix(line, "member ") && !slices.Contains(before, line) && !automatic {
			what, _, _ := strings.Cut(line, " admin")
			added = append(added, what)
		}
	}
	slices.Sort(added)
	return added
}
