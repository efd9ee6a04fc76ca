package exchangetest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/contract"
	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/internal/v1client"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

const schema = `
CREATE SCHEMA app;
CREATE TABLE app.doc (id text PRIMARY KEY, owner_id text NOT NULL, title text UNIQUE, n bigint NOT NULL DEFAULT 0 CHECK (n >= 0));
CREATE TABLE app.note (id uuid PRIMARY KEY, doc_id text REFERENCES app.doc ON DELETE CASCADE, owner_id text NOT NULL, body text,
                       at timestamptz, amount numeric(38,10), big bigint, image bytea, extra jsonb);
SELECT tide.register_table('app.doc', owner_column => 'owner_id', push_policy => 'owner_only');
SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'owner_only');`

var tables = []v1client.Table{
	{Name: "doc", Key: []string{"id"}, Columns: []string{"id", "owner_id", "title", "n"}},
	{Name: "note", Key: []string{"id"}, Columns: []string{"id", "doc_id", "owner_id", "body", "at", "amount", "big", "image", "extra"}},
}

var secret = []byte("a secret of thirty-two bytes and more")

// site is a database with the server in front of it.
type site struct {
	db   *pgtest.DB
	http *httptest.Server
}

// newSite prepares a database with the statements, registers nothing but what schema does, and serves
// it as tide_runtime.
func newSite(t *testing.T, statements ...string) *site {
	t.Helper()
	db := pgtest.New(t)
	s := &site{db: db}
	s.exec(t, append([]string{schema}, statements...)...)
	config, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 10
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET SESSION AUTHORIZATION tide_runtime`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	// Requests that are sent once may have to wait long for many others on a busy machine.
	handler := server.New(pool, server.Config{QueueTimeout: time.Minute, LockTimeout: time.Minute, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- handler.Run(ctx) }()
	s.http = httptest.NewServer(auth.Bearer(secret)(handler))
	t.Cleanup(func() {
		s.http.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("sealing ended: %v", err)
		}
		pool.Close()
	})
	return s
}

func (s *site) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := s.db.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%v\n%s", err, statement)
		}
	}
}

func value[T any](t *testing.T, s *site, query string, args ...any) T {
	t.Helper()
	var v T
	if err := s.db.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	return v
}

func token(t *testing.T, user string) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// device makes a device of a user that is not attached yet, whose answers are held against
// docs/openapi.yaml. change may set what is special about it.
func (s *site) device(t *testing.T, user string, change ...func(*v1client.Config)) *v1client.Device {
	t.Helper()
	config := v1client.Config{URL: s.http.URL, Token: token(t, user), Schema: "app", Tables: tables, MaxRetryWait: 100 * time.Millisecond, Retries: 20,
		Client: &http.Client{Transport: contract.Transport(t, nil)}}
	for _, f := range change {
		f(&config)
	}
	d, err := v1client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// attached is a device that is attached.
func (s *site) attached(t *testing.T, user string, change ...func(*v1client.Config)) *v1client.Device {
	t.Helper()
	d := s.device(t, user, change...)
	must(t, d.Sync(t.Context()))
	return d
}

func clientWins(c *v1client.Config) { c.ClientWins = true }

func over(faults *v1client.Faults) func(*v1client.Config) {
	return func(c *v1client.Config) { c.Client = &http.Client{Transport: faults} }
}

func doc(user, id, title string, n int) string {
	return fmt.Sprintf(`{"id":%q,"owner_id":%q,"title":%q,"n":%d}`, id, user, title, n)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// images shows bytea the way devices see it.
var images = map[string]string{"doc": `to_jsonb(t)`, "note": `to_jsonb(t) || jsonb_build_object('image', replace(encode(t.image, 'base64'), E'\n', ''))`}

// same holds what a device has against the rows of its user.
func (s *site) same(t *testing.T, user string, d *v1client.Device) {
	t.Helper()
	for _, table := range tables {
		rows, err := s.db.Query(t.Context(), `SELECT t.id::text, (`+images[table.Name]+`)::text FROM app.`+table.Name+` AS t WHERE t.owner_id = $1`, user)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		var id, payload string
		if _, err := pgx.ForEachRow(rows, []any{&id, &payload}, func() error {
			want[id] = payload
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		got, differ := d.Rows(table.Name), 0
		for id := range joined(got, want) {
			if differ < 5 && canonical(t, got[id]) != canonical(t, want[id]) {
				differ++
				t.Errorf("row %q of %s of %s: the device %s holds\n%s\nthe table\n%s", id, table.Name, user, d.SourceID(), got[id], want[id])
			}
		}
	}
}

func joined(a, b map[string]string) map[string]bool {
	all := map[string]bool{}
	for _, m := range []map[string]string{a, b} {
		for id := range m {
			all[id] = true
		}
	}
	return all
}

func canonical(t *testing.T, text string) string {
	t.Helper()
	if text == "" {
		return ""
	}
	c, err := v1client.Canonical(text)
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return c
}
