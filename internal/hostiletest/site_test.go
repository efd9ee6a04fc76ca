package hostiletest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

const schema = `
CREATE SCHEMA app;
CREATE TYPE app.kind AS ENUM ('one', 'two');
CREATE TABLE app.thing (
    id text PRIMARY KEY, owner text NOT NULL, n bigint, amount numeric, at timestamptz, flag boolean, data jsonb, raw json, bytes bytea,
    kind app.kind, tags text[], day date, span int4range, parent text REFERENCES app.thing DEFERRABLE);
CREATE TABLE app.pair (a int, b uuid, owner text NOT NULL, PRIMARY KEY (a, b));
SELECT tide.register_table('app.thing', owner_column => 'owner', push_policy => 'owner_only');
SELECT tide.register_table('app.pair', owner_column => 'owner', push_policy => 'owner_only');`

var secret = []byte("a secret of thirty-two bytes, or more")

// site is a server as pgtide serve makes it, with less patience. What goes wrong in it is in its log.
type site struct {
	db  *pgtest.DB
	web *httptest.Server
	log *pgtest.Output
}

const (
	headerTimeout  = 2 * time.Second
	requestTimeout = 20 * time.Second
	maxBody        = 1 << 20
)

func newSite(t *testing.T, config server.Config) *site {
	t.Helper()
	s := &site{db: pgtest.New(t), log: &pgtest.Output{}}
	for _, statement := range []string{schema, `SELECT tide.seal()`} {
		if _, err := s.db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	config.LockTimeout = requestTimeout // a seal may take long on a busy machine
	config.MaxBodyBytes, config.Logger = maxBody, slog.New(slog.NewJSONHandler(s.log, nil))
	if config.RequestTimeout == 0 {
		config.RequestTimeout = requestTimeout
	}
	front := server.New(s.db.Pool, config)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- front.Run(ctx) }()
	s.web = httptest.NewUnstartedServer(auth.Bearer(secret)(front))
	s.web.Config.ReadHeaderTimeout, s.web.Config.MaxHeaderBytes = headerTimeout, 64<<10
	s.web.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(s.log, nil), slog.LevelWarn)
	s.web.Start()
	t.Cleanup(func() {
		s.web.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended: %v", err)
		}
		s.nothingIsLeft(t)
	})
	s.do(t, "ann", "phone", http.MethodPost, "/sync/connect", `{"has_local_pending_rows":false}`).is(t, http.StatusOK, "")
	return s
}

// nothingIsLeft looks for what a request may have left behind.
func (s *site) nothingIsLeft(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") {
			t.Errorf("the log has %s", line)
		}
	}
	until(t, "every request ended", func() bool {
		stacks := make([]byte, 8<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !bytes.Contains(stacks, []byte("runtime/server.(*Server).serve("))
	})
	until(t, "every transaction ended", func() bool {
		var open int
		err := s.db.QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'`).Scan(&open)
		return err == nil && open == 0
	})
	until(t, "every connection was given back", func() bool { return s.db.Stat().AcquiredConns() == 0 })
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not true: %s", what)
			return
		}
	}
}

func token(t testing.TB, user string) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user}).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + text
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (s *site) do(t testing.TB, user, source, method, path, body string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.web.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", token(t, user))
	request.Header.Set("Tide-Source-ID", source)
	for i := 0; i < len(header); i += 2 {
		request.Header[header[i]] = append(request.Header[header[i]], header[i+1])
	}
	return s.send(t, request)
}

// send repeats what a busy machine has no time for, as clients do: a fault that stays is seen.
func (s *site) send(t testing.TB, request *http.Request) answer {
	t.Helper()
	for try := 0; ; try++ {
		got := s.sendOnce(t, request)
		if got.status != http.StatusServiceUnavailable || try == 5 || request.GetBody == nil {
			return got
		}
		body, err := request.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		request.Body = body
		time.Sleep(time.Second)
	}
}

func (s *site) sendOnce(t testing.TB, request *http.Request) answer {
	t.Helper()
	response, err := s.web.Client().Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", request.Method, request.URL, err)
	}
	defer func() { _ = response.Body.Close() }() // it was read, or has no end
	var text []byte
	if response.Header.Get("Content-Type") != "text/event-stream" {
		if text, err = io.ReadAll(response.Body); err != nil {
			t.Fatal(err)
		}
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// receive reads the answer that comes over a connection.
func receive(conn net.Conn) (answer, error) {
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

// raw sends bytes as they are, and reads what comes back.
func (s *site) raw(t testing.TB, text string) (got answer, closed bool) {
	t.Helper()
	conn := s.dial(t)
	defer func() { _ = conn.Close() }() // nothing follows
	if _, err := io.WriteString(conn, text); err != nil {
		return answer{}, true // closed before it read all
	}
	got, err := receive(conn)
	return got, err != nil
}

func (s *site) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// code is what an error says; it must say everything that an error has to.
func (a answer) code(t testing.TB, what string) string {
	t.Helper()
	var body struct {
		Error, Message string
		RequestID      string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Error == "" || body.Message == "" || body.RequestID == "" {
		t.Errorf("%.300q: %d %.300q is no answer", what, a.status, a.body)
	}
	for _, leak := range []string{"goroutine", ".go:", "SELECT ", "PL/pgSQL", "tide_", "relation", "pgx", "SQLSTATE", "127.0.0.1", "json.", "strconv"} {
		if strings.Contains(body.Message, leak) {
			t.Errorf("%.300q: the message tells %q: %s", what, leak, body.Message)
		}
	}
	return body.Error
}

// blames checks that the request is to blame, if anything is.
func (a answer) blames(t testing.TB, what string) {
	t.Helper()
	switch {
	case a.status >= 500 || a.status < 200 || (a.status >= 300 && a.status < 400):
		t.Errorf("%.300q: %d %.300q", what, a.status, a.body)
	case a.status >= 400:
		a.code(t, what)
	}
}

func (a answer) is(t testing.TB, status int, code string) {
	t.Helper()
	if a.status != status || (code != "" && a.code(t, code) != code) {
		t.Errorf("got %d %.300q, want %d %s", a.status, a.body, status, code)
	}
}

// state is all that pushes can change, as one value.
func (s *site) state(t testing.TB) (state string) {
	t.Helper()
	err := s.db.QueryRow(t.Context(), `SELECT concat_ws(' ', (SELECT md5(string_agg(x::text, '' ORDER BY id)) FROM app.thing AS x), (SELECT md5(string_agg(x::text, '' ORDER BY a, b)) FROM app.pair AS x),
		(SELECT count(*) FROM tide.push_log), (SELECT count(*) FROM tide.change_log))`).Scan(&state)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// thing is a row of a push.
func thing(id, payload string) string {
	return fmt.Sprintf(`{"schema":"app","table":"thing","key":{"id":%s},"op":"INSERT","base_row_version":0,"payload":{%s}}`, id, payload)
}

func push(number int, rows ...string) string {
	return fmt.Sprintf(`{"source_bundle_id":%d,"rows":[%s]}`, number, strings.Join(rows, ","))
}
