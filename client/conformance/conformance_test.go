package conformance_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/client/conformance"
	"github.com/pgtide/pgtide/client/conformance/goclient"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// TestMain makes the test program be the adapter, when a test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("PGTIDE_TEST_ADAPTER") != "" {
		if err := goclient.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// adapter is this program.
var adapter = []string{"env", "PGTIDE_TEST_ADAPTER=yes", os.Args[0]}

func database(t *testing.T) *pgxpool.Pool {
	t.Helper()
	db := pgtest.New(t)
	conn := db.Connect(t, db.URL)
	if _, err := conn.PgConn().Exec(t.Context(), conformance.Schema).ReadAll(); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestGoClient(t *testing.T) {
	t.Parallel()
	cases, err := conformance.Cases()
	if err != nil || len(cases) < 10 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if err := conformance.Run(t.Context(), c, database(t), adapter); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What is not as the case says is told, with what there is.
func TestWhatDiffersIsTold(t *testing.T) {
	t.Parallel()
	pool := database(t)
	for _, c := range []struct {
		step conformance.Step
		told string
	}{
		{conformance.Step{Query: `SELECT 1 AS n`, Expect: []any{map[string]any{"n": 2}}}, "step 1: expected [map[n:2]], there is [map[n:1]]"},
		{conformance.Step{Read: "a", Table: "list", Expect: []any{map[string]any{"id": "l1"}}}, "there is []"},
		{conformance.Step{Read: "a", Table: "nothing"}, "no such table"},
		{conformance.Step{Sync: "a", Error: "network"}, "should fail with network"},
		{conformance.Step{Sync: "a", User: "7", Expect: map[string]any{"n": 1}}, "expected map[n:1]"},
		{conformance.Step{Table: "list"}, "nothing to do"},
	} {
		err := conformance.Run(t.Context(), conformance.Case{Steps: []conformance.Step{c.step}}, pool, adapter)
		if err == nil || !strings.Contains(err.Error(), c.told) {
			t.Errorf("%+v: %v", c.step, err)
		}
	}
	if err := conformance.Run(t.Context(), conformance.Case{Steps: []conformance.Step{{Sync: "a"}}}, pool, []string{"true"}); err == nil {
		t.Error("a command that does not answer passed")
	}
}
