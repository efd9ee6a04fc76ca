package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

const serveSecret = "a secret of thirty-two bytes, or more"

// served is a run of pgtide serve.
type served struct {
	*process
	url string
}

func serveFor(t *testing.T, url string, args ...string) served {
	t.Helper()
	return serveWith(t, url, append([]string{"--jwt-secret", serveSecret}, args...)...)
}

func serveWith(t *testing.T, url string, args ...string) served {
	t.Helper()
	p := start(t, url, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	s := served{process: p}
	until(t, "the server", func() bool {
		for _, line := range p.logged() {
			if line["msg"] == "serving" {
				s.url = "http://" + line["addr"].(string)
			}
		}
		return s.url != ""
	})
	return s
}

// logged are the lines of the log so far; the last may not be whole yet.
func (p *process) logged() (lines []map[string]any) {
	for line := range strings.Lines(p.errors.String()) {
		var entry map[string]any
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &entry) == nil {
			lines = append(lines, entry)
		}
	}
	return lines
}

// ask sends a request as a user's phone, and returns the status and the body.
func (s served) ask(t *testing.T, user, method, path, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user}).SignedString([]byte(serveSecret))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("Oversync-Source-ID", "phone")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it was read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// It needs no more than tide_runtime has, and serves what devices push and what others write.
func TestServeAsTheRuntime(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	must(t, db, `CREATE SCHEMA app`, `CREATE TABLE app.item (id bigint PRIMARY KEY, owner int, title text)`,
		`SELECT tide.register_table('app.item', owner_column => 'owner', push_policy => 'owner_only')`, `SELECT tide.seal()`)
	pgtest.WithInstallLock(t, func() { // roles belong to all databases
		must(t, db, `CREATE ROLE serving_runtime LOGIN IN ROLE tide_runtime`)
		defer must(t, db, `DROP ROLE serving_runtime`)
		s := serveFor(t, db.As("serving_runtime"))
		if status, body := s.ask(t, "1", http.MethodPost, "/sync/connect", `{"has_local_pending_rows":false}`); status != http.StatusOK {
			t.Fatalf("connect: %d %s", status, body)
		}
		status, body := s.ask(t, "1", http.MethodPost, "/sync/push", `{"source_bundle_id":1,"rows":[{"schema":"app","table":"item","key":{"id":"7"},"op":"INSERT","base_row_version":0,"payload":{"id":7,"title":"pushed"}}]}`)
		if status != http.StatusOK || !strings.Contains(body, `"bundle_seq":1`) {
			t.Errorf("push: %d %s", status, body)
		}
		must(t, db, `INSERT INTO app.item VALUES (8, 1, 'written with psql')`)
		until(t, "what psql wrote", func() bool {
			_, body := s.ask(t, "1", http.MethodGet, "/sync/pull?after_bundle_seq=1", "")
			return strings.Contains(body, "written with psql")
		})
		for _, path := range []string{"/sync/snapshot", "/sync/capabilities", "/syncx/health"} {
			if status, body := s.ask(t, "1", http.MethodGet, path, ""); status != http.StatusOK {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		if status, body := s.ask(t, "1", http.MethodPost, "/sync/snapshot-sessions", ""); status != http.StatusOK {
			t.Errorf("snapshot: %d %s", status, body)
		}
		if status, body := s.ask(t, "", http.MethodGet, "/sync/pull", ""); status != http.StatusUnauthorized {
			t.Errorf("nobody: %d %s", status, body)
		}
		if got := s.interrupt(t, syscall.SIGTERM); got.code != 0 || got.out != "" {
			t.Errorf("after SIGTERM: %+v", got)
		}
		var noted bool
		if err := db.QueryRow(t.Context(), `SELECT last_seen_at IS NOT NULL AND last_push = 1 FROM tide.clients`).Scan(&noted); err != nil || !noted {
			t.Errorf("the device was not noted: %v", err)
		}
	})
}

// A connection that ends is not an end, a database that is none is.
func TestServeAndTheDatabase(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	s := serveFor(t, db.URL, "--operator-token", "let me see")
	must(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgtide%' AND datname = current_database()`)
	until(t, "health", func() bool {
		status, _ := s.ask(t, "", http.MethodGet, "/syncx/health", "")
		return status == http.StatusOK
	})
	if got := s.interrupt(t, os.Interrupt); got.code != 0 {
		t.Errorf("after Ctrl-C: %+v", got)
	}
	for _, line := range s.logged() {
		if line["time"] == nil || line["level"] == nil || line["msg"] == nil {
			t.Errorf("a line of the log: %v", line)
		}
	}
	got := pgtide(t, pgtest.Empty(t).URL, "serve", "--addr", "127.0.0.1:0", "--jwt-secret", serveSecret)
	if got.code != exitFailed || !strings.Contains(got.errors, "\nHINT: Is pgtide installed in this database?") {
		t.Errorf("without pgtide: %+v", got)
	}
}

// Requests that have begun are answered before the program ends.
func TestServeFinishesWhatItBegan(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	must(t, db, `CREATE SCHEMA app`, `CREATE TABLE app.item (id bigint PRIMARY KEY, owner int, title text)`,
		`SELECT tide.register_table('app.item', owner_column => 'owner', push_policy => 'owner_only')`,
		`INSERT INTO app.item VALUES (7, 1, 'x')`, `SELECT tide.seal()`)
	s := serveFor(t, db.URL, "--lock-timeout", "1m")
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // it is over already
	if _, err := tx.Exec(t.Context(), `SELECT FROM app.item WHERE id = 7 FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	type result struct {
		status int
		body   string
	}
	answered := make(chan result, 1)
	go func() {
		defer close(answered)
		status, body := s.ask(t, "1", http.MethodPost, "/sync/push", `{"source_bundle_id":1,"rows":[{"schema":"app","table":"item","key":{"id":"7"},"op":"UPDATE","base_row_version":1,"payload":{"title":"late"}}]}`)
		answered <- result{status, body}
	}()
	until(t, "the push to wait", func() bool {
		var waiting bool
		err := db.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgtide%' AND wait_event_type = 'Lock')`).Scan(&waiting)
		return err == nil && waiting
	})
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the end to begin", func() bool { return strings.Contains(s.errors.String(), "shutting down") })
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got.status != http.StatusOK || !strings.Contains(got.body, `"late"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := s.wait(t); got.code != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestServeWrongUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"serve"}, "PGTIDE_JWT_SECRET"},
		{[]string{"serve", "--jwt-secret", "short"}, "5 bytes"},
		{[]string{"serve", "--jwt-secret", serveSecret}, "no database given"},
	} {
		if got := pgtide(t, "", test.args...); got.code != exitUsage || !strings.Contains(got.errors, test.want) || strings.Count(got.errors, "\n") != 1 {
			t.Errorf("pgtide %v: %+v", test.args, got)
		}
	}
	if got := pgtide(t, "postgres://127.0.0.1:1/x", "serve", "--jwt-secret", serveSecret, "--addr", "nowhere.invalid:1"); got.code != exitFailed || !strings.Contains(got.errors, "listen") {
		t.Errorf("an address that is none: %+v", got)
	}
}
