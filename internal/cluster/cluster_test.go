package cluster_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/cluster"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// TestMain is also the process that starts a cluster and is killed.
func TestMain(m *testing.M) {
	if os.Getenv("PGTIDE_TEST_AS_VICTIM") != "" {
		if _, err := cluster.New(context.Background(), cluster.Config{}); err != nil {
			panic(err)
		}
		time.Sleep(time.Minute)
		return
	}
	os.Exit(m.Run())
}

func TestAClusterComesBackAfterAKill(t *testing.T) {
	t.Parallel()
	c := pgtest.Private(t, cluster.Config{Settings: map[string]string{"work_mem": "5MB"}})
	db := pgtest.NewOn(t, c)
	if _, err := db.Exec(t.Context(), "CREATE TABLE public.kept (id int); INSERT INTO public.kept VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		if conn, err := pgx.Connect(t.Context(), db.URL); err == nil {
			_ = conn.Close(t.Context())
			t.Fatal("a killed server answers")
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		db.Reset()
		var kept int
		var memory string
		if err := db.QueryRow(t.Context(), "SELECT id, current_setting('work_mem') FROM public.kept").Scan(&kept, &memory); err != nil || memory != "5MB" {
			t.Fatalf("after a kill: row %d, work_mem %s: %v", kept, memory, err)
		}
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSettingsThatTheServerRefusesAreAnErrorThatSaysSo(t *testing.T) {
	t.Parallel()
	_, err := cluster.New(t.Context(), cluster.Config{Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("got %v, want what the server said", err)
	}
}

// A process is killed while it makes its cluster, while that starts, and when it runs.
func TestAKilledProcessLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]string{
		"at initdb":      "pgtide-test-*/data/pg_wal",
		"at its start":   "pgtide-test-*/log",
		"while it runs":  "pgtide-test-*/.s.PGSQL.*.lock",
		"at first sight": "pgtide-test-*",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "pgtide-victim-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the test has failed already when something is left
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "PGTIDE_TEST_AS_VICTIM=1", "TMPDIR="+dir)
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			appears(t, filepath.Join(dir, there), true)
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed, as meant
			appears(t, filepath.Join(dir, "pgtide-test-*"), false)
			// What is still at work would make it anew: once that has ended, it is gone for good.
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				running := processesWith(dir + "/pgtide-test")
				if len(running) == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("still running: %q", running)
				}
			}
			appears(t, filepath.Join(dir, "pgtide-test-*"), false)
		})
	}
}

func appears(t *testing.T, pattern string, want bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if (len(found) > 0) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: there are %q", pattern, found)
		}
	}
}

// processesWith lists the servers whose command line has a text; the watchdog itself may take its last nap.
func processesWith(text string) []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // none where there is no /proc
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(line), text) && !strings.Contains(string(line), "pgtide-watchdog") {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
