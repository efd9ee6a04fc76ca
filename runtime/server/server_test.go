package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/contract"
	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
)

// front is a server on a database of its own.
type front struct {
	t      testing.TB
	db     *pgtest.DB
	server *Server
	url    string
	client *http.Client
}

// newFront serves two tables of users' rows, with the identity that the test's requests name.
func newFront(t testing.TB, config Config) *front {
	t.Helper()
	return newFrontOf(t, config, 40)
}

// newFrontOf is the same with a pool of this size.
func newFrontOf(t testing.TB, config Config, connections int32) *front {
	t.Helper()
	f := &front{t: t, db: pgtest.New(t)}
	f.exec(t,
		`CREATE SCHEMA app`,
		`CREATE TABLE app.task (id uuid PRIMARY KEY, owner_id text NOT NULL, title text NOT NULL CHECK (title <> 'bad'), rank bigint, done boolean NOT NULL DEFAULT false)`,
		`CREATE TABLE app.note (id bigint PRIMARY KEY, owner_id text NOT NULL, body text UNIQUE, task_id uuid REFERENCES app.task DEFERRABLE)`,
		`SELECT tide.register_table('app.task', owner_column => 'owner_id', push_policy => 'owner_only')`,
		`SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'owner_only')`,
		`SELECT tide.seal()`)
	poolConfig := f.db.Config()
	poolConfig.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(context.Background(), poolConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	f.server = New(pool, config)
	web := httptest.NewServer(asHeaderSays(f.server))
	t.Cleanup(web.Close)
	f.url, f.client = web.URL, web.Client()
	return f
}

// asHeaderSays is a host's own middleware: the user is whoever the request says.
func asHeaderSays(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user := r.Header.Get("X-User"); user != "" {
			r = r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: user}))
		}
		next.ServeHTTP(w, r)
	})
}

// through sends a request, and holds the answer against docs/openapi.yaml.
func (f *front) through(request *http.Request) (*http.Response, error) {
	client := *f.client
	client.Transport = contract.Transport(f.t, client.Transport)
	return client.Do(request)
}

func (f *front) exec(t testing.TB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := f.db.Exec(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// device is one installation of a user.
type phone struct {
	f            *front
	user, source string
}

func (f *front) device(user, source string) phone { return phone{f, user, source} }

func (d phone) try(method, path, body string) (answer, error) {
	return d.send(method, path, body, "test")
}

func (d phone) send(method, path, body, requestID string) (answer, error) {
	request, err := http.NewRequest(method, d.f.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if d.user != "" {
		request.Header.Set("X-User", d.user)
	}
	if d.source != "" {
		request.Header.Set("Oversync-Source-ID", d.source)
	}
	request.Header.Set("X-Request-Id", requestID)
	response, err := d.f.through(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

func (d phone) do(t testing.TB, method, path, body string) answer {
	t.Helper()
	got, err := d.try(method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

func (d phone) get(t testing.TB, path string) answer {
	t.Helper()
	return d.do(t, http.MethodGet, path, "")
}

func (d phone) post(t testing.TB, path, body string) answer {
	t.Helper()
	return d.do(t, http.MethodPost, path, body)
}

// connect begins the home bucket.
func (d phone) connect(t testing.TB) phone {
	t.Helper()
	d.post(t, "/sync/connect", `{"has_local_pending_rows":false}`).is(t, http.StatusOK, "")
	return d
}

// is checks the status, and the code of an error.
func (a answer) is(t testing.TB, status int, code string) answer {
	t.Helper()
	var body struct{ Error, Message string }
	if a.status != http.StatusNoContent {
		if err := json.Unmarshal([]byte(a.body), &body); err != nil {
			t.Fatalf("status %d, body %q: %v", a.status, a.body, err)
		}
	}
	if a.status != status || body.Error != code || (code != "" && body.Message == "") {
		t.Fatalf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
	return a
}

// field is a value of the body, by its path.
func (a answer) field(t testing.TB, path ...string) string {
	t.Helper()
	text := []byte(a.body)
	for _, name := range path {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatalf("%s of %s: %v", name, a.body, err)
		}
		text = object[name]
	}
	return strings.Trim(string(text), `"`)
}

var changing = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z|20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9:.]+\+00`)

// golden compares with testdata, where what differs from run to run is x. PGTIDE_GOLDEN=write writes.
func (a answer) golden(t testing.TB, name string) answer {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	got := fmt.Sprintf("%d %s\n%s", a.status, a.header.Get("Content-Type"), changing.ReplaceAllString(a.body, "x"))
	if retry := a.header.Get("Retry-After"); retry != "" {
		got = "Retry-After: " + retry + "\n" + got
	}
	if os.Getenv("PGTIDE_GOLDEN") == "write" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return a
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
	return a
}
