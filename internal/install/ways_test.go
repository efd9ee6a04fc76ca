package install_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // for stock goose
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/migrations"
)

// ways are the three ways to install, which must give one and the same database.
var ways = map[string]func(*testing.T, string) error{
	"pgtide migrate up": func(t *testing.T, url string) error {
		_, err := install.Up(t.Context(), url)
		return err
	},
	"pgtide sql | psql": func(t *testing.T, url string) error {
		script, err := install.Script()
		if err != nil {
			return err
		}
		_, err = psql(t, url, script)
		return err
	},
	"stock goose": stockGoose,
}

// goose's own functions keep their settings in variables of the package.
var gooseMutex sync.Mutex

// stockGoose does what goose -table tide_goose_version -dir migrations postgres "$URL" up does.
func stockGoose(t *testing.T, url string) error {
	return withStockGoose(t, url, func(db *sql.DB) error { return goose.UpContext(t.Context(), db, "../../migrations") })
}

// stockGooseDown does what the same with down-to 0 does.
func stockGooseDown(t *testing.T, url string) error {
	return withStockGoose(t, url, func(db *sql.DB) error { return goose.DownToContext(t.Context(), db, "../../migrations", 0) })
}

func withStockGoose(t *testing.T, url string, f func(*sql.DB) error) error {
	t.Helper()
	gooseMutex.Lock()
	defer gooseMutex.Unlock()
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	goose.SetLogger(goose.NopLogger())
	goose.SetTableName(migrations.VersionTable)
	if err := goose.SetDialect("postgres"); err != nil {
		return err
	}
	return f(db)
}

// psql runs a script as psql -X does when it is piped in, and returns what it printed.
func psql(t *testing.T, url, script string) (string, error) {
	t.Helper()
	cmd := pgtest.Psql(t, url)
	cmd.Stdin = strings.NewReader(script)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return string(output), fmt.Errorf("psql: %w: %s", err, output)
	}
	return string(output), nil
}

func TestEveryWayOfInstallingGivesTheSameDatabase(t *testing.T) {
	t.Parallel()
	pgtest.WithInstallLock(t, func() {
		databases := map[string]*pgtest.DB{}
		for name, install := range ways {
			databases[name] = pgtest.Empty(t)
			if err := install(t, databases[name].URL); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		want := state(t, databases["stock goose"])
		for name, db := range databases {
			pgtest.SameCatalog(t, name, state(t, db), want)
			// They take turns, and find nothing left to do.
			for other, install := range ways {
				if err := install(t, db.URL); err != nil {
					t.Errorf("%s after %s: %v", other, name, err)
				}
			}
			pgtest.SameCatalog(t, name+", then all again", state(t, db), want)
		}
	})
}

// state is everything in the schema and in goose's table.
func state(t *testing.T, db *pgtest.DB) []string {
	t.Helper()
	lines := pgtest.Catalog(t, db, "^tide$")
	lines = append(lines, query(t, db, `SELECT format('applied %s %s', version_id, is_applied) FROM public.tide_goose_version`)...)
	return append(lines, query(t, db, `
		SELECT format('version table %s %s %s %s %s', a.attname, a.attnum, a.atttypid::regtype, a.attnotnull, a.attidentity)
		  FROM pg_attribute AS a WHERE a.attrelid = 'public.tide_goose_version'::regclass AND a.attnum > 0`)...)
}

func query(t *testing.T, db *pgtest.DB, text string, args ...any) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return lines
}

func must(t *testing.T, db *pgtest.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// withPath is the URL with another search_path, said in the way that goose and psql understand too.
func withPath(t *testing.T, databaseURL, path string) string {
	t.Helper()
	return withParameter(t, databaseURL, "options", "-csearch_path="+strings.ReplaceAll(path, " ", `\ `))
}

func withParameter(t *testing.T, databaseURL, name, value string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	values := u.Query()
	values.Set(name, value)
	u.RawQuery = strings.ReplaceAll(values.Encode(), "+", "%20") // libpq takes + as it is
	return u.String()
}

func TestTheScriptPrintsNothingTheSecondTime(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	script, err := install.Script()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := psql(t, db.URL, script); err != nil || out != "" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestInstallersAtOnce(t *testing.T) {
	t.Parallel()
	pgtest.WithInstallLock(t, func() {
		db := pgtest.Empty(t)
		script, err := install.Script()
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				var err error
				if i%3 == 2 {
					_, err = psql(t, db.URL, script)
				} else {
					_, err = install.Up(t.Context(), db.URL)
				}
				if err != nil {
					t.Errorf("installer %d: %v", i, err)
				}
			})
		}
		group.Wait()
		if got := query(t, db, `SELECT string_agg(version_id::text, ' ' ORDER BY id) FROM public.tide_goose_version`)[0]; got != "0 1 2 3 4" {
			t.Errorf("applied %s", got)
		}
	})
}

// Behind a pooler each open transaction takes a connection, and the installer at work needs two.
func TestWhoWaitsForAnInstallerHoldsNoTransaction(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	other := db.Connect(t, db.URL)
	if _, err := other.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, lock.DefaultLockID); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := install.Up(t.Context(), withParameter(t, db.URL, "application_name", "waiting")); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if len(query(t, db, `SELECT state FROM pg_stat_activity WHERE application_name = 'waiting' AND state = 'idle' AND query ~* 'rollback'`)) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Error("the installer that waits is never without a transaction")
			break
		}
	}
	if _, err := other.Exec(t.Context(), `SELECT pg_advisory_unlock($1)`, lock.DefaultLockID); err != nil {
		t.Fatal(err)
	}
	group.Wait()
}

func TestTheSearchPathDoesNotMatter(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"empty": "", "a schema of the application first": `"My App", public`, "a schema that is not there": "nowhere"} {
		for _, way := range []string{"pgtide migrate up", "pgtide sql | psql"} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				pgtest.WithInstallLock(t, func() {
					db := pgtest.Empty(t)
					must(t, db, `CREATE SCHEMA "My App"`, `CREATE SCHEMA other`)
					if err := ways[way](t, withPath(t, db.URL, path)); err != nil {
						t.Fatal(err)
					}
					want := pgtest.Catalog(t, db, "")
					for other := range ways {
						if other == "stock goose" {
							continue // it looks in the first schema of the path alone; docs/install.md says what to do
						}
						if err := ways[other](t, withPath(t, db.URL, "other, public")); err != nil {
							t.Errorf("%s, with another path: %v", other, err)
						}
					}
					pgtest.SameCatalog(t, "again", pgtest.Catalog(t, db, ""), want)
					status, err := install.Status(t.Context(), withPath(t, db.URL, ""))
					if err != nil {
						t.Fatal(err)
					}
					for _, m := range status {
						if !m.Applied {
							t.Errorf("%s counts as missing", m.Name)
						}
					}
				})
			})
		}
	}
}

func TestStatusWritesNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	status, err := install.Status(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	if len(status) < 3 || status[0].Applied {
		t.Errorf("got %v", status)
	}
	if tables := query(t, db, `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace`); len(tables) > 0 {
		t.Errorf("status made %v", tables)
	}
}

func TestADatabaseOfANewerPgtideIsLeftAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	must(t, db, `INSERT INTO public.tide_goose_version (version_id, is_applied) VALUES (900, true)`)
	_, err := install.Up(context.WithoutCancel(t.Context()), db.URL)
	if err == nil || !strings.Contains(err.Error(), "900") {
		t.Errorf("got %v, want an error that names migration 900", err)
	}
}
