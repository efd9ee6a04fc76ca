package workspacetest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/examples/workspace"
	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// TestMain makes few histories the standard, always the same: make soak asks for others, and many.
func TestMain(m *testing.M) {
	standard := map[string]string{"rapid.checks": "2", "rapid.seed": "7", "rapid.shrinktime": "3m", "rapid.nofailfile": "true"}
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { delete(standard, f.Name) })
	for name, value := range standard {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	code := m.Run()
	if template.drop != nil {
		_ = template.drop(context.Background()) // it goes with the server at the latest
	}
	os.Exit(code)
}

// The people of the seed, and whether they are in an organisation is a matter of the history.
var people = []string{"ada", "ben", "cleo", "dov", "eve"}

// template is a workspace with its rows, sealed; the policies hold on every table of it. It is made once,
// by whichever test comes first, and copied.
var template struct {
	sync.Once
	server, name string
	drop         func(context.Context) error
}

func makeTemplate(t testing.TB) {
	t.Helper()
	template.Do(func() {
		ctx := context.Background()
		empty := pgtest.New(t)
		empty.Close()
		template.server = pgtest.WithDatabase(empty.URL, "postgres")
		db, drop, err := pgtest.Create(ctx, template.server, empty.Config().ConnConfig.Database)
		if err != nil {
			t.Fatal(err)
		}
		template.drop = drop
		for _, statements := range []string{workspace.Schema, workspace.Seed, workspace.Register, `
			SELECT tide.enable_rls(s.relation, write => 'none') FROM tide.synced_table AS s WHERE s.rls_write IS NULL ORDER BY s.table_id;
			GRANT USAGE ON SCHEMA workspace TO tide_client;
			GRANT SELECT ON ALL TABLES IN SCHEMA workspace TO tide_client;
			REVOKE SELECT ON workspace.project_role FROM tide_client`, `SELECT tide.seal()`} {
			exec(t, db, statements)
		}
		// A database that is copied has no connections.
		db.Close()
		template.name = db.Config().ConnConfig.Database
	})
	if template.name == "" {
		t.Fatal("the workspace could not be made")
	}
}

func prepared(t testing.TB) *pgtest.DB {
	t.Helper()
	makeTemplate(t)
	db, drop, err := pgtest.Create(context.Background(), template.server, template.name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(context.Background()); err != nil {
			t.Log(err)
		}
	})
	return db
}

func exec(t testing.TB, db *pgtest.DB, statements string, args ...any) {
	t.Helper()
	if _, err := db.Exec(context.Background(), statements, args...); err != nil {
		t.Fatalf("%.300s: %v", statements, err)
	}
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// visible is what the query of a user says, by table and key as devices name rows.
func visible(ctx context.Context, db querier, user string) (map[string]string, error) {
	rows, err := db.Query(ctx, `SELECT 'workspace.' || v.table_name || replace(replace(v.key::text, '" : "', '":"'), '", "', '","'), v.payload::text FROM (`+workspace.Visible+`) AS v`, user)
	if err != nil {
		return nil, err
	}
	want := map[string]string{}
	var id, payload string
	_, err = pgx.ForEachRow(rows, []any{&id, &payload}, func() error { want[id] = payload; return nil })
	return want, err
}

// differences are rows that a device has and should not have (-), or should have and has not (+).
func differences(held, want map[string]string) (found []string) {
	for id, payload := range held {
		if other, ok := want[id]; !ok || other != payload {
			found = append(found, "- "+id+" "+payload)
		}
	}
	for id, payload := range want {
		if other, ok := held[id]; !ok || other != payload {
			found = append(found, "+ "+id+" "+payload)
		}
	}
	slices.Sort(found)
	return found[:min(len(found), 10)]
}

func heldBy(d *cursorclient.Device) map[string]string {
	held := map[string]string{}
	for id, row := range d.Rows {
		held[id] = row.Payload
	}
	return held
}

// shown is what the policies let a user read with plain SELECTs, as visible gives it.
func shown(ctx context.Context, db *pgtest.DB, user string) (map[string]string, error) {
	got := map[string]string{}
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var reading string
		if err := tx.QueryRow(ctx, `
			SELECT string_agg(format('SELECT %L || %s, to_json(t)::text FROM (SELECT %s FROM %s%s) AS t', 'workspace.' || s.table_name,
			           (SELECT format('format(%L, %s)', '{' || string_agg(format('"%s":"%%s"', k), ',') || '}', string_agg(format('t.%I', k), ', ')) FROM unnest(s.key_columns) AS k),
			           (SELECT string_agg(quote_ident(c), ', ') FROM unnest(s.sync_columns) AS c), s.relation,
			           ' WHERE ' || s.deleted_at_column || ' IS NULL'), ' UNION ALL ')
			  FROM tide.synced_table AS s WHERE s.synced`).Scan(&reading); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT set_config('app.user_id', $1, true), set_config('role', 'tide_client', true)`, user); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, reading)
		if err != nil {
			return err
		}
		var id, payload string
		_, err = pgx.ForEachRow(rows, []any{&id, &payload}, func() error { got[id] = payload; return nil })
		return err
	})
	return got, err
}
