package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/migrations"
)

var binary string

// The tests run the program as users do.
func TestMain(m *testing.M) { os.Exit(withBinary(m)) }

func withBinary(m *testing.M) int {
	folder, err := os.MkdirTemp("", "pgtide-cli-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }() // of a temporary folder, nothing is lost
	binary = filepath.Join(folder, "pgtide")
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build pgtide: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// said is what a run of the program gave.
type said struct {
	code        int
	out, errors string
}

func pgtide(t *testing.T, url string, args ...string) said {
	t.Helper()
	p := start(t, url, args...)
	return p.wait(t)
}

// process is a run that goes on.
type process struct {
	cmd         *exec.Cmd
	out, errors pgtest.Output
}

func start(t *testing.T, url string, args ...string) *process {
	t.Helper()
	p := prepare(t, url, args...)
	p.begin(t)
	return p
}

func (p *process) begin(t *testing.T) {
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start pgtide: %v", err)
	}
}

func prepare(t *testing.T, url string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	p := &process{cmd: exec.CommandContext(ctx, binary, args...)}
	p.cmd.Env = append(pgtest.Environ(), "DATABASE_URL="+url)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errors
	return p
}

func (p *process) wait(t *testing.T) said {
	t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run pgtide: %v", err)
	}
	return said{p.cmd.ProcessState.ExitCode(), p.out.String(), p.errors.String()}
}

// interrupt presses Ctrl-C.
func (p *process) interrupt(t *testing.T, signal os.Signal) said {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("interrupt pgtide: %v", err)
	}
	return p.wait(t)
}

// until waits for what must come.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
	}
}

func must(t *testing.T, db *pgtest.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// withItems is a database with a registered table of two owners.
func withItems(t *testing.T) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	must(t, db, `CREATE SCHEMA app`, `CREATE TABLE app.item (id bigint PRIMARY KEY, owner int, title text)`,
		`SELECT tide.register_table('app.item', owner_column => 'owner')`, `SELECT tide.seal()`)
	return db
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "say what to do"},
		{[]string{"migrate"}, "say what to do"},
		{[]string{"nonsense"}, `no command "nonsense"`},
		{[]string{"migrate", "down"}, `no command "down"`},
		{[]string{"seal", "now"}, `takes no argument "now"`},
		{[]string{"tail", "--nonsense"}, "nonsense"},
		{[]string{"tail", "--after", "x"}, "after"},
		{[]string{"tail", "--after", "-3"}, "--after"},
		{[]string{"tail", "--poll", "0s"}, "--poll"},
		{[]string{"seal", "--every", "0s"}, "--every"},
		{[]string{"seal"}, "no database given"},
		{[]string{"migrate", "up", "--database-url", "postgres://user:secret@host:port/x"}, "cannot be read"},
		{[]string{"migrate", "uninstall", "--database-url", "postgres://127.0.0.1:1/x"}, "--yes"},
	} {
		got := pgtide(t, "", test.args...)
		if got.code != exitUsage || got.out != "" || !strings.Contains(got.errors, test.want) || strings.Count(got.errors, "\n") != 1 {
			t.Errorf("pgtide %v: %+v, want one line with %q and exit code %d", test.args, got, test.want, exitUsage)
		}
		if strings.Contains(got.errors, "secret") {
			t.Errorf("pgtide %v prints the password", test.args)
		}
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	t.Parallel()
	got := pgtide(t, "", "--help")
	for _, command := range []string{"migrate", "sql", "seal", "serve", "dev", "tail", "client", "doctor", "version", "DATABASE_URL"} {
		if !strings.Contains(got.out, command) {
			t.Errorf("help does not name %s:\n%s", command, got.out)
		}
	}
	if got.code != 0 || got.errors != "" {
		t.Errorf("help: %+v", got)
	}
	if got := pgtide(t, "", "help", "tail"); got.code != 0 || !strings.Contains(got.out, "--bucket") {
		t.Errorf("help tail: %+v", got)
	}
}

func TestErrorsOfPostgreSQLComeWithTheirHint(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	for _, command := range []string{"seal", "tail", "doctor"} {
		got := pgtide(t, db.URL, command)
		if got.code != exitFailed || got.out != "" || !strings.Contains(got.errors, "\nHINT: Is pgtide installed in this database?") {
			t.Errorf("%s: %+v", command, got)
		}
		got = pgtide(t, "postgres://nobody@127.0.0.1:1/x", command)
		if got.code != exitFailed || !strings.Contains(got.errors, "connection refused") || strings.Count(got.errors, "\n") != 1 {
			t.Errorf("%s without a server: %+v", command, got)
		}
	}
}

func TestTheVersionIsTheOneOfTheDatabase(t *testing.T) {
	t.Parallel()
	var installed string
	if err := pgtest.New(t).QueryRow(t.Context(), `SELECT tide.version()`).Scan(&installed); err != nil {
		t.Fatal(err)
	}
	if got := pgtide(t, "", "version"); got != (said{0, "pgtide " + installed + "\n", ""}) {
		t.Errorf("got %+v, the database has %s", got, installed)
	}
	if migrations.Version() != installed {
		t.Errorf("migrations.Version() is %s", migrations.Version())
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	pgtest.WithInstallLock(t, func() {
		db := pgtest.Empty(t)
		if got := pgtide(t, db.URL, "migrate", "status"); got.code != 0 || strings.Count(got.out, "missing") != 4 {
			t.Errorf("status before: %+v", got)
		}
		if got := pgtide(t, db.URL, "migrate", "up"); got.code != 0 || strings.Count(got.out, "applied 0000") != 4 || got.errors != "" {
			t.Errorf("up: %+v", got)
		}
		if got := pgtide(t, db.URL, "migrate", "up"); got.code != 0 || got.out != "" || !strings.Contains(got.errors, "nothing to do") {
			t.Errorf("up again: %+v", got)
		}
		if got := pgtide(t, db.URL, "migrate", "status"); got.code != 0 || strings.Contains(got.out, "missing") || !strings.Contains(got.out, "00001_schema.sql") {
			t.Errorf("status after: %+v", got)
		}
		if got := pgtide(t, db.URL, "migrate", "uninstall", "--yes"); got.code != 0 || !strings.Contains(got.out, "dropped schema tide") {
			t.Errorf("uninstall: %+v", got)
		}
		if got := pgtide(t, db.URL, "migrate", "uninstall", "--yes"); got.code != 0 || !strings.Contains(got.out, "nothing to do") {
			t.Errorf("uninstall again: %+v", got)
		}
	})
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	if got := pgtide(t, db.URL, "doctor"); got.code != 0 || got.out != "" || got.errors == "" {
		t.Errorf("all is well: %+v", got)
	}
	must(t, db, `ALTER TABLE app.item ADD COLUMN note text`)
	if got := pgtide(t, db.URL, "doctor"); got.code != 0 || !strings.HasPrefix(got.out, "warning: app.item: ") || !strings.Contains(got.out, "=> SELECT tide.") {
		t.Errorf("a warning: %+v", got)
	}
	must(t, db, `ALTER TABLE app.item DISABLE TRIGGER ALL`)
	got := pgtide(t, db.URL, "doctor")
	if got.code != exitFinding || !strings.Contains(got.out, "error: app.item: ") || got.errors != "" {
		t.Errorf("an error: %+v", got)
	}
	for line := range strings.Lines(got.out) {
		if severity, _, _ := strings.Cut(line, ":"); severity != "error" && severity != "warning" && severity != "notice" {
			t.Errorf("not a finding: %q", line)
		}
	}
}

func TestSealOnce(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	must(t, db, `UPDATE tide.setting SET seal_max_changes = 3`)
	for i := range 10 {
		must(t, db, fmt.Sprintf(`INSERT INTO app.item VALUES (%d, 1, 'x')`, i))
	}
	got := pgtide(t, db.URL, "seal")
	var bundles, head int64
	if err := db.QueryRow(t.Context(), `SELECT count(*), (SELECT tide.head()) FROM tide.bundles`).Scan(&bundles, &head); err != nil {
		t.Fatal(err)
	}
	if bundles != 10 {
		t.Errorf("%d of 10 transactions are sealed", bundles)
	}
	if want := (said{0, fmt.Sprintln(head), ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSealGoesOnUntilInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		db := withItems(t)
		p := start(t, db.URL, "seal", "--every", "10ms")
		for i := range 3 {
			must(t, db, fmt.Sprintf(`INSERT INTO app.item VALUES (%d, 1, 'x')`, i))
			until(t, "the seal", func() bool { return bundles(t, db) == i+1 })
			// Its connection goes, and so do those of a server that restarts.
			must(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgtide%' AND datname = current_database()`)
		}
		if got := p.interrupt(t, signal); got.code != 0 || got.out != "" {
			t.Errorf("%v: %+v", signal, got)
		}
	}
}

func bundles(t *testing.T, db *pgtest.DB) int {
	t.Helper()
	var n int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM tide.bundles`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
