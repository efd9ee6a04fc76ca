package main

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// A new user types what README.md says, and gets what it shows.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, walk, found := strings.Cut(string(text), "## Put it under your database")
	walk, _, ended := strings.Cut(walk, "\n## ")
	if !found || !ended {
		t.Fatal("README.md has no such section")
	}
	// A server of its own: the login of the page belongs to all databases.
	url := pgtest.Private(t, pgtest.ClusterConfig{}).URL("postgres")
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db := &pgtest.DB{Pool: pool, URL: url}
	must(t, db, `CREATE SCHEMA app`, `CREATE TABLE app.country (code text PRIMARY KEY, name text)`,
		`CREATE TABLE app.task (id bigint PRIMARY KEY, user_id bigint NOT NULL, title text NOT NULL CHECK (title <> ''), done boolean NOT NULL DEFAULT false)`,
		`INSERT INTO app.task VALUES (1, 42, 'Call Ada'), (2, 42, 'Buy paper'), (3, 7, 'Not his')`)
	if got := pgtide(t, db.URL, "migrate", "up"); got.code != 0 {
		t.Fatalf("migrate up: %+v", got)
	}
	must(t, db, between(t, walk, "```sql\n", "```"))
	s := serveWith(t, db.As("app_server"), "--trust-user-header", "X-User")
	steps := regexp.MustCompile(`(?m)^(?:\$ tide (\S+)(?: -d '((?s).*?)')?|yourdb=> (UPDATE .*;))\n((?:\{.*\n)*)`).FindAllStringSubmatch(walk, -1)
	if len(steps) != 5 {
		t.Fatalf("%d steps: %q", len(steps), steps)
	}
	for _, step := range steps {
		path, body, statement, want := strings.Trim(step[1], "'"), step[2], step[3], step[4]
		if statement != "" {
			must(t, db, statement)
			continue
		}
		// What is written is sealed in a moment.
		var got string
		shown := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*") + "$")
		until(t, path+" to answer "+want, func() bool {
			got = s.tide(t, path, body)
			return shown.MatchString(got)
		})
	}
}

// tide is the shell function of the page.
func (s served) tide(t *testing.T, path, body string) string {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(context.Background(), method, s.url+"/sync/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-User", "42")
	request.Header.Set("Tide-Source-ID", "laptop")
	return send(t, request)
}

func between(t *testing.T, text, begin, end string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, begin)
	part, _, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("no %q … %q", begin, end)
	}
	return part
}
