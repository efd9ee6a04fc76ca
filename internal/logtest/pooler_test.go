package logtest

import (
	"context"
	"fmt"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/sealer"
)

// Writers, sealers and whoever looks into the log share a few connections of a PgBouncer in
// transaction mode, where the next statement may meet another session.
func TestThroughAPoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := pgtest.NewOn(t, cluster)
	exec(t, db, itemSchema, `CREATE ROLE server LOGIN IN ROLE tide_runtime`)
	bounced := pgtest.Bounced(t, cluster, 8, "server")
	url, server := bounced(db.URL), bounced(db.As("server"))
	program := buildPgtide(t)

	if out, code := program.run(t, server, "seal"); code != 0 || out != "1\n" {
		t.Fatalf("pgtide seal: exit code %d: %s", code, out)
	}
	if out, code := program.run(t, url, "doctor"); code != 0 {
		t.Errorf("pgtide doctor: exit code %d: %s", code, out)
	}
	exec(t, db, `CREATE DATABASE second`)
	second := pgtest.WithDatabase(url, "second")
	for _, args := range [][]string{{"migrate", "up"}, {"migrate", "status"}, {"seal"}, {"migrate", "uninstall", "--yes"}} {
		if out, code := program.run(t, second, args...); code != 0 {
			t.Errorf("pgtide %s: exit code %d: %s", strings.Join(args, " "), code, out)
		}
	}
	replicas := itemReplicas(t, db)

	began := value[int64](t, db, `SELECT tide.head()`)
	after := fmt.Sprintf("--after=%d", began)
	everything := program.start(t, url, "tail", "--json", "--poll=20ms", after)
	bucket := program.start(t, url, "tail", "--json", "--poll=20ms", after, "--bucket=user:1")
	sealing := program.start(t, server, "seal", "--every", "10ms")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- sealer.Run(ctx, unprepared(t, server), sealer.Config{Interval: 10 * time.Millisecond})
	}()
	runWriters(t, &pgtest.DB{Pool: unprepared(t, url), URL: url}, 40, 3*time.Second, nil)
	finishPrepared(t, db)
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the sealer: %v", err)
	}
	// Two look after the partitions here; the one that comes second gives way, and tries again.
	sealing.end(t, "level=INFO", "maintain: ERROR: canceling statement due to lock timeout")
	if out, code := program.run(t, server, "seal"); code != 0 {
		t.Errorf("pgtide seal: exit code %d: %s", code, out)
	}
	for name, of := range map[string]struct {
		tail   *running
		wanted string
	}{
		"tail":          {everything, `SELECT count(*) FROM tide.changes WHERE bundle_id > $1`},
		"tail --bucket": {bucket, `SELECT count(*) FROM tide.changes WHERE bundle_id > $1 AND bucket_id = 'user:1'`},
	} {
		wanted := value[int](t, db, of.wanted, began)
		for deadline := time.Now().Add(30 * time.Second); of.tail.lines() < wanted && time.Now().Before(deadline); {
			time.Sleep(20 * time.Millisecond)
		}
		of.tail.end(t)
		if got := of.tail.lines(); got != wanted || wanted == 0 {
			t.Errorf("pgtide %s printed %d changes, the log has %d", name, got, wanted)
		}
	}
	finishItems(t, db, replicas)
}

// unprepared is a pool as a pooler in transaction mode wants it.
func unprepared(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// pgtide is the program, as scripts run it.
type pgtide string

func buildPgtide(t *testing.T) pgtide {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pgtide")
	if out, err := osexec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/pgtide/pgtide/cmd/pgtide").CombinedOutput(); err != nil {
		t.Fatalf("build pgtide: %v\n%s", err, out)
	}
	return pgtide(path)
}

// run returns what the program printed, and its exit code.
func (p pgtide) run(t *testing.T, url string, args ...string) (string, int) {
	t.Helper()
	r := p.start(t, url, args...)
	_ = r.cmd.Wait() // the exit code says it
	return r.out.String() + r.problems.String(), r.cmd.ProcessState.ExitCode()
}

// running is a run that goes on.
type running struct {
	name          string
	cmd           *osexec.Cmd
	out, problems pgtest.Output
}

func (p pgtide) start(t *testing.T, url string, args ...string) *running {
	t.Helper()
	r := &running{name: "pgtide " + strings.Join(args, " "), cmd: osexec.CommandContext(t.Context(), string(p), args...)}
	r.cmd.Env = append(r.cmd.Environ(), "DATABASE_URL="+url)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.problems
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	return r
}

// end is Ctrl-C. Up to then the program must have said nothing on stderr but lines with one of these texts.
func (r *running) end(t *testing.T, expected ...string) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Errorf("%s: %v: %s", r.name, err, r.problems.String())
		return
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("%s: %v", r.name, err)
	}
	for line := range strings.Lines(r.problems.String()) {
		if !slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(line, text) }) {
			t.Errorf("%s: %s", r.name, line)
		}
	}
}

func (r *running) lines() int { return strings.Count(r.out.String(), "\n") }
