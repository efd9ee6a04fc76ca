package pgtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

func TestDatabasesOfTwoTestsDoNotMeet(t *testing.T) {
	t.Parallel()
	a, b := pgtest.New(t), pgtest.New(t)
	if _, err := a.Exec(t.Context(), "CREATE TABLE public.here (id int)"); err != nil {
		t.Fatal(err)
	}
	var there bool
	if err := b.QueryRow(t.Context(), "SELECT to_regclass('public.here') IS NOT NULL").Scan(&there); err != nil {
		t.Fatal(err)
	}
	if there {
		t.Error("a table of one test's database is in the other's")
	}
}

// The template is made by whoever comes first, while the others wait for it.
func TestManyTestsBeginAtOnceOnAFreshServer(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	t.Run("databases", func(t *testing.T) {
		for n := range 12 {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				db := pgtest.NewOn(t, cluster)
				if _, err := db.Exec(t.Context(), "SELECT tide.seal()"); err != nil {
					t.Error(err)
				}
				if _, err := db.Exec(t.Context(), "SELECT 1 FROM status"); err == nil {
					t.Error("a name without its schema was found")
				}
			})
		}
	})
	conn, err := pgx.Connect(t.Context(), cluster.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var templates, left int
	err = conn.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE datname ~ '^tide_template'), count(*) FILTER (WHERE datname ~ '^tide_test') FROM pg_database`).Scan(&templates, &left)
	if err != nil || templates != 1 || left != 0 {
		t.Errorf("%d templates, want 1; %d databases of tests are left, want 0: %v", templates, left, err)
	}
}

func TestADatabaseIsToBeHadWhileNobodyInstalls(t *testing.T) {
	pgtest.WithInstallLock(t, func() {
		db := pgtest.New(t)
		if _, err := db.Exec(t.Context(), "SELECT tide.seal()"); err != nil {
			t.Error(err)
		}
	})
}

// On such a server the template is not made yet. The test above runs there, in a process of its own.
func TestTheFirstDatabaseOfAServerIsToBeHadWhileNobodyInstalls(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestADatabaseIsToBeHadWhileNobodyInstalls$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), pgtest.EnvURL+"="+cluster.URL("postgres"))
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// CI says which way of getting a server it means to prove.
func TestTheServerIsTheOneExpected(t *testing.T) {
	server, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	if want := os.Getenv("PGTIDE_TEST_EXPECT"); !strings.HasPrefix(server.Description, want) {
		t.Errorf("the server is %s, want %s", server.Description, want)
	}
	conn, err := pgx.Connect(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var prepared int
	if err := conn.QueryRow(t.Context(), `SELECT current_setting('max_prepared_transactions')::int`).Scan(&prepared); err != nil || prepared == 0 {
		t.Errorf("max_prepared_transactions is %d: %v", prepared, err)
	}
}
