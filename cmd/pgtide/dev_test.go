package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// What it prints works as printed, and nothing is left of it after Ctrl-C.
func TestDev(t *testing.T) {
	t.Parallel()
	// Not t.TempDir: the server may run as another user, who must be allowed in there.
	folder, err := os.MkdirTemp("", "pgtide-dev-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) }) // the test has failed already when something is left
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	p := prepare(t, "postgres://127.0.0.1:1/must_not_be_touched", "dev", "--addr", "127.0.0.1:0")
	p.cmd.Env = append(p.cmd.Env, "TMPDIR="+folder)
	p.begin(t)
	url, statements, requests := p.lookAround(t)

	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, statement := range statements {
		tag, err := conn.Exec(t.Context(), statement)
		if err != nil || tag.RowsAffected() == 0 {
			t.Errorf("%s: %v: %v", statement, tag, err)
		}
	}
	for i, want := range []string{`"name":"Ada"`, `"name":"Ada"`, `"note":"by curl"`} {
		if answer := send(t, requests[i]); !strings.Contains(answer, want) {
			t.Errorf("%s %s: %s, want %s", requests[i].Method, requests[i].URL, answer, want)
		}
	}
	if got := p.interrupt(t, os.Interrupt); got.code != 0 {
		t.Errorf("after Ctrl-C: %+v", got)
	}
	if left, err := filepath.Glob(folder + "/*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q: %v", left, err)
	}
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		conn.Close(t.Context())
		t.Error("the server still answers")
	}
}

func TestDevOnAServer(t *testing.T) {
	t.Parallel()
	server := pgtest.Private(t, pgtest.ClusterConfig{}).URL("postgres")
	p := start(t, "", "dev", "--addr", "127.0.0.1:0", "--server", server)
	url, _, _ := p.lookAround(t)
	// Somebody still looks around.
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if got := p.interrupt(t, syscall.SIGTERM); got.code != 0 {
		t.Errorf("after SIGTERM: %+v", got)
	}
	admin, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	var databases, roles int
	if err := admin.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_database WHERE NOT datistemplate), (SELECT count(*) FROM pg_roles WHERE rolname ~ '^tide')`).Scan(&databases, &roles); err != nil || databases != 1 || roles != 0 {
		t.Errorf("%d databases, want 1; %d roles, want 0: %v", databases, roles, err)
	}
}

// Ctrl-C while it starts is no error either.
func TestDevInterruptedAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "", "dev", "--addr", "127.0.0.1:0")
	until(t, "the start", func() bool { return strings.Contains(p.errors.String(), "starting PostgreSQL") })
	if got := p.interrupt(t, os.Interrupt); got.code != 0 || got.out != "" || strings.Contains(got.errors, "pgtide:") {
		t.Errorf("got %+v", got)
	}
}

func TestDevWrongUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args        []string
		environment string
		code        int
		want        string
		logged      int // lines of its log before that
	}{
		{args: []string{"--database-url", "postgres://127.0.0.1:1/x"}, code: exitUsage, want: "--server"},
		{args: []string{"--jwt-secret", "short"}, code: exitUsage, want: "5 bytes"},
		{args: []string{"--jwks-url", "https://issuer.example"}, code: exitUsage, want: "jwks-url"},
		{environment: "PGTIDE_JWKS_URL=https://issuer.example", code: exitUsage, want: "pgtide dev --help"},
		{args: []string{"--server", "postgres://127.0.0.1:1/x"}, code: exitFailed, want: "connection refused"},
		{environment: "PGTIDE_TEST_BINDIR=/nowhere", code: exitFailed, want: "PGTIDE_TEST_BINDIR is /nowhere", logged: 1},
	} {
		p := prepare(t, "", append([]string{"dev"}, test.args...)...)
		p.cmd.Env = append(p.cmd.Env, test.environment)
		p.begin(t)
		if got := p.wait(t); got.code != test.code || got.out != "" || !strings.Contains(got.errors, test.want) || strings.Count(got.errors, "\n") != test.logged+1 {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

// lookAround waits for what dev prints, and reads it as a user does: the URL for psql, the
// statements, and the requests of curl.
func (p *process) lookAround(t *testing.T) (url string, statements []string, requests []*http.Request) {
	t.Helper()
	until(t, "what to do", func() bool { return strings.Contains(p.out.String(), "by curl") })
	text := p.out.String()
	value := func(pattern string) string {
		found := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("no %s in %s", pattern, text)
		}
		return found[1]
	}
	for _, line := range regexp.MustCompile(`(?m)^    ((?:SELECT|UPDATE).*;)`).FindAllStringSubmatch(text, -1) {
		statements = append(statements, line[1])
	}
	for _, line := range regexp.MustCompile(`(?s)curl -s "?\$FRONT(\S+?)"? (-H.*?)(?: -d '(.*?)')?( \| head -3)?\n`).FindAllStringSubmatch(text, -1) {
		method := http.MethodGet
		if line[3] != "" {
			method = http.MethodPost
		}
		request, err := http.NewRequestWithContext(context.Background(), method, value(`FRONT=(\S+)`)+line[1], strings.NewReader(line[3]))
		if err != nil {
			t.Fatal(err)
		}
		for _, header := range regexp.MustCompile(`-H "(.+?): (.+?)"`).FindAllStringSubmatch(line[2], -1) {
			request.Header.Set(header[1], strings.ReplaceAll(header[2], "$TOKEN", value(`TOKEN=(\S+)`)))
		}
		requests = append(requests, request)
	}
	if len(statements) != 5 || len(requests) != 3 {
		t.Fatalf("%d statements and %d requests in %s", len(statements), len(requests), text)
	}
	return value(`psql '(.*)'`), statements, requests
}

func send(t *testing.T, request *http.Request) string {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // It was only read.
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%s %s: %d: %v", request.Method, request.URL, response.StatusCode, err)
	}
	return string(text)
}
