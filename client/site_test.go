package client

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

// site is a server with lists and their items, shared by teams.
type site struct {
	db    *pgtest.DB
	pool  *pgxpool.Pool // of the server
	web   *httptest.Server
	front *server.Server
	// handler is the server for the user whom a header names.
	handler http.Handler
	// around, if it is set, stands between the devices and the server.
	around func(http.Handler) http.Handler
}

const siteSchema = `
	CREATE SCHEMA app;
	CREATE TABLE app.member (user_id text, team text, PRIMARY KEY (user_id, team));
	CREATE TABLE app.list (id text PRIMARY KEY, owner_id text, title text NOT NULL CHECK (title <> 'bad'), slug text UNIQUE, rank bigint NOT NULL DEFAULT 0, seen text NOT NULL DEFAULT 'no');
	CREATE TABLE app.item (id bigint PRIMARY KEY, list_id text REFERENCES app.list ON DELETE CASCADE DEFERRABLE, owner_id text,
		body text, big bigint, amount numeric(38,10), ratio double precision, done boolean NOT NULL DEFAULT false, data bytea, extra jsonb, tags text[], at timestamptz);
	CREATE TABLE app.notice (id int PRIMARY KEY, teams text[] NOT NULL, body text);
	CREATE FUNCTION app.notice_buckets(r app.notice) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg('team:' || t) FROM unnest(r.teams) AS t$$;
	CREATE FUNCTION app.reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER AS $$SELECT 'team:' || m.team FROM app.member AS m WHERE m.user_id = $1$$;
	CREATE FUNCTION app.see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.seen := 'yes'; RETURN NEW; END$$;
	CREATE TRIGGER see BEFORE INSERT OR UPDATE ON app.list FOR EACH ROW EXECUTE FUNCTION app.see();
	SELECT tide.register_table('app.list', owner_column => 'owner_id', push_policy => 'owner_only', server_columns => '{seen}');
	SELECT tide.register_table('app.item', owner_column => 'owner_id', push_policy => 'owner_only');
	SELECT tide.register_table('app.notice', bucket_function => 'app.notice_buckets(app.notice)');
	SELECT tide.set_bucket_access('app.reads');
`

func newSite(t testing.TB) *site {
	t.Helper()
	db := pgtest.New(t)
	if _, err := db.Exec(context.Background(), siteSchema); err != nil {
		t.Fatal(err)
	}
	return siteOn(t, db)
}

func siteOn(t testing.TB, db *pgtest.DB) *site {
	t.Helper()
	s := &site{db: db}
	config := s.db.Config()
	config.MaxConns = 20
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s.pool = pool
	front := server.New(pool, server.Config{})
	s.front = front
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		front.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: r.Header.Get("X-User")})))
	})
	s.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.around != nil {
			s.around(s.handler).ServeHTTP(w, r)
			return
		}
		s.handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.web.Close)
	t.Cleanup(s.web.CloseClientConnections)
	return s
}

// earlier is the site as it is now, for when it goes back to this state.
func (s *site) earlier(t testing.TB) *site {
	t.Helper()
	s.db.Reset()
	s.pool.Reset()
	name := s.there(t, `SELECT current_database()::text`)
	s.db.Reset()
	db, drop, err := pgtest.Create(context.Background(), pgtest.WithDatabase(s.db.URL, "postgres"), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return siteOn(t, db)
}

// runs seals and tells devices of news until the test ends.
func (s *site) runs(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.front.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (s *site) exec(t testing.TB, statement string) {
	t.Helper()
	if _, err := s.db.Exec(context.Background(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// seal gives what was written at the server its place, as a running server does by itself.
func (s *site) seal(t testing.TB) { s.exec(t, `SELECT tide.seal()`) }

func (s *site) config(user string) Config {
	return s.configOf(s.web.URL, user)
}

func (*site) configOf(url, user string) Config {
	return Config{URL: url, User: user, Header: http.Header{"X-User": {user}}}
}

// device is a client on a file of its own.
func (s *site) device(t testing.TB, user string, change ...func(*Config)) *Client {
	t.Helper()
	config := s.config(user)
	for _, f := range change {
		f(&config)
	}
	return s.open(t, filepath.Join(t.TempDir(), "device.db"), config)
}

func (s *site) open(t testing.TB, path string, config Config) *Client {
	t.Helper()
	c, err := Open(context.Background(), path, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// file is a database of an application, with what these statements make, until the test ends.
func file(t testing.TB, path string, statements ...string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return db
}

func do(t testing.TB, c *Client, statement string, args ...any) {
	t.Helper()
	if _, err := c.DB().Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func synced(t testing.TB, devices ...*Client) {
	t.Helper()
	for _, c := range devices {
		if err := c.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// rows are the answer of a query, one line each.
func rows(t testing.TB, c *Client, query string, args ...any) string {
	t.Helper()
	found, err := c.DB().Query(query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text(t, found)
}

func text(t testing.TB, found *sql.Rows) string {
	t.Helper()
	defer found.Close() //nolint:errcheck // Err says it.
	columns, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for found.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			t.Fatal(err)
		}
		fields := make([]string, len(values))
		for i, v := range values {
			fields[i] = fmt.Sprint(v)
			if v == nil {
				fields[i] = "-"
			}
		}
		lines = append(lines, strings.Join(fields, "|"))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func is(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

// there is the answer of a query at the server.
func (s *site) there(t testing.TB, query string) string {
	t.Helper()
	var got *string
	if err := s.db.QueryRow(context.Background(), `SELECT string_agg(r::text, E'\n' ORDER BY r::text) FROM (`+query+`) AS q (r)`).Scan(&got); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if got == nil {
		return ""
	}
	return *got
}

func (s *site) path(t testing.TB, c *Client) string {
	t.Helper()
	return rows(t, c, `SELECT file FROM pragma_database_list WHERE name = 'main'`)
}
