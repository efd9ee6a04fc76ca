package pgtest_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

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

func TestAMissingServerIsSaidInOneLine(t *testing.T) {
	t.Setenv(pgtest.EnvURL, "")
	t.Setenv(pgtest.EnvBinDir, t.TempDir())
	_, err := pgtest.Start(t.Context())
	if err == nil {
		t.Fatal("started a server out of an empty directory")
	}
	if !strings.Contains(err.Error(), "apt-get install postgresql") || strings.Contains(err.Error(), "\n") {
		t.Errorf("not one line that says what to install: %q", err)
	}
}

func TestANamedServerThatDoesNotAnswerIsAnError(t *testing.T) {
	t.Setenv(pgtest.EnvURL, "postgres://nobody@127.0.0.1:1/postgres")
	if _, err := pgtest.Start(t.Context()); err == nil || !strings.Contains(err.Error(), pgtest.EnvURL) {
		t.Errorf("got %v, want an error that names %s", err, pgtest.EnvURL)
	}
}

func TestAClusterComesBackAfterAKill(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	if err := cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The test runs itself again as a process that starts a cluster, and kills that.
func TestAKilledProcessLeavesNoClusterBehind(t *testing.T) {
	if os.Getenv("PGTEST_HELPER") == "1" {
		cluster, err := pgtest.NewCluster(context.Background(), pgtest.ClusterConfig{})
		if err != nil {
			fmt.Println("failed", err)
			return
		}
		fmt.Println("url", cluster.URL("postgres"))
		time.Sleep(time.Minute)
		return
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAKilledProcessLeavesNoClusterBehind$")
	cmd.Env = append(os.Environ(), "PGTEST_HELPER=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, found := strings.CutPrefix(strings.TrimSpace(line), "url ")
	if err != nil || !found {
		t.Fatalf("the helper said %q: %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as meant
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return
		}
		_ = conn.Close(t.Context())
		if time.Now().After(deadline) {
			t.Fatal("the cluster of a killed process still answers")
		}
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
