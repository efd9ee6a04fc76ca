package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/wire"
)

// large is a home bucket of some megabytes, in one bundle.
func large(t *testing.T, config Config, rows int) (*front, phone) {
	t.Helper()
	f := newFront(t, config)
	d := f.device("u1", "phone").connect(t)
	f.exec(t, fmt.Sprintf(`INSERT INTO app.note SELECT i, 'u1', repeat('x', 1000) || i FROM generate_series(1, %d) AS i`, rows), `SELECT tide.seal()`)
	return f, d
}

// What does not fit into the buffer is streamed, and is the same.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	const rows = 6000
	f, d := large(t, Config{BufferBytes: 64 << 20}, rows)
	for _, path := range []string{"/sync/pull", "/sync/committed-bundles/1/rows?max_rows=5000"} {
		whole := d.get(t, path).is(t, http.StatusOK, "")
		f.server.config.BufferBytes = 10_000
		again := d.get(t, path).is(t, http.StatusOK, "")
		f.server.config.BufferBytes = 64 << 20
		if again.body != whole.body {
			t.Errorf("%s: streamed it differs", path)
		}
		if again.header.Get("Content-Length") != "" {
			t.Errorf("%s: it was not streamed", path)
		}
	}
}

// Only so many are streamed at a time; one more is told to come back, and small answers go on.
func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	f, d := large(t, Config{BufferBytes: 10_000, MaxStreams: 1}, 1000)
	f.server.streams <- struct{}{}
	d.get(t, "/sync/pull").is(t, http.StatusServiceUnavailable, "service_unavailable")
	d.get(t, "/sync/pull?after_bundle_seq=1").is(t, http.StatusOK, "")
	<-f.server.streams
	d.get(t, "/sync/pull").is(t, http.StatusOK, "")
	if len(f.server.streams) != 0 {
		t.Error("a stream that ended still counts")
	}
}

// open begins to read the streamed form of a snapshot.
func (d phone) open(t *testing.T) *http.Response {
	t.Helper()
	response, err := d.tryOpen("/sync/snapshot")
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// tryOpen begins to read an answer, as large as it is.
func (d phone) tryOpen(path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(d.f.t.Context(), http.MethodGet, d.f.url+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-User", d.user)
	request.Header.Set("Oversync-Source-ID", d.source)
	request.Header.Set("Accept-Encoding", "identity")
	return d.f.client.Do(request)
}

// A stream that was cut has no last line, and nothing stays open in the database.
func TestCutStream(t *testing.T) {
	t.Parallel()
	f, d := large(t, Config{BufferBytes: 10_000}, 20_000)
	response := d.open(t)
	defer func() { _ = response.Body.Close() }() // it was read
	lines := bufio.NewReader(response.Body)
	if first, err := lines.ReadString('\n'); err != nil || !strings.Contains(first, `"snapshot_bundle_seq":1`) {
		t.Fatalf("got %q (%v)", first, err)
	}
	f.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND (state = 'idle in transaction' OR query LIKE 'FETCH%') AND pid <> pg_backend_pid()`)
	for {
		line, err := lines.ReadString('\n')
		if strings.Contains(line, `"done"`) {
			t.Fatal("a cut stream says it is whole")
		}
		if err != nil {
			break
		}
	}
	nothingOpen(t, f)
	whole := d.get(t, "/sync/snapshot")
	if whole.status != http.StatusOK || strings.Count(whole.body, "\n") != 20_002 || !strings.HasSuffix(whole.body, `{"done":true,"snapshot_bundle_seq":1,"row_count":20000}`+"\n") {
		t.Errorf("the stream after it has %d lines", strings.Count(whole.body, "\n"))
	}
}

// An answer that takes longer than its token is cut, and is not taken for a whole one.
func TestStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	f, _ := large(t, Config{BufferBytes: 10_000}, 20_000)
	var expires time.Time
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.server.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: r.Header.Get("X-User"), ExpiresAt: expires})))
	}))
	web.Listener = smallBuffers{web.Listener} // so that a server is not far ahead of its client
	web.Start()
	defer web.Close()
	d := phone{&front{t: t, db: f.db, url: web.URL, client: web.Client()}, "u1", "phone"}
	for path, whole := range map[string]string{"/sync/snapshot": `{"done":true`, "/sync/pull": `"has_more":`} {
		response, lifetime := (*http.Response)(nil), time.Second
		for response == nil {
			expires = time.Now().Add(lifetime)
			response, _ = d.tryOpen(path) // on a busy machine it may end before its first word
			lifetime *= 2
		}
		time.Sleep(time.Until(expires))
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close() // it was read
		if err == nil || strings.Contains(string(text), whole) {
			t.Errorf("%s: %d bytes came with a token that had expired, and then %v", path, len(text), err)
		}
		expires = time.Now().Add(time.Hour)
		if got := d.get(t, path); got.status != http.StatusOK || !strings.Contains(got.body, whole) {
			t.Errorf("%s: %d, and it did not come to its end", path, got.status)
		}
	}
	nothingOpen(t, f)
}

// A client that reads nothing is cut off, and gives back what it held.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	f, d := large(t, Config{BufferBytes: 10_000, WriteTimeout: 200 * time.Millisecond}, 40_000)
	response := d.open(t)
	defer func() { _ = response.Body.Close() }() // it was read
	nothingOpen(t, f)
	for deadline := time.Now().Add(time.Minute); len(f.server.streams) != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("its stream still counts")
		}
	}
	if text, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("all %d bytes came", len(text))
	}
}

// A snapshot may take longer than other requests, before it says its first word.
func TestSnapshotThatTakesLong(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{RequestTimeout: time.Second, LockTimeout: time.Minute})
	d := f.device("u1", "phone").connect(t)
	for _, ask := range []func() (answer, error){
		func() (answer, error) { return d.try(http.MethodGet, "/sync/snapshot", "") },
		func() (answer, error) { return d.try(http.MethodPost, "/sync/snapshot-sessions", "{}") },
	} {
		tx, err := f.db.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `LOCK TABLE app.note`); err != nil {
			t.Fatal(err)
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			if got, err := ask(); err != nil || got.status != http.StatusOK {
				t.Errorf("got %d %s %v", got.status, got.body, err)
			}
		}()
		select {
		case <-answered:
			t.Error("answered while the table was locked")
		case <-time.After(3 * f.server.config.RequestTimeout):
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-answered
	}
}

func nothingOpen(t *testing.T, f *front) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var open int
		err := f.db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`).Scan(&open)
		if err != nil {
			t.Fatal(err)
		}
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d transactions stay open", open)
		}
	}
}

// A mistake of the program costs one answer.
func TestPanic(t *testing.T) {
	t.Parallel()
	var log pgtest.Output
	f := newFront(t, Config{Logger: jsonLog(&log)})
	f.server.routes = append(f.server.routes,
		route{http.MethodGet, "/panic", anyone, false, wire.PullFailed, func(*call) error { panic("the secret of the program") }},
		route{http.MethodGet, "/panic-late", anyone, false, wire.PullFailed, func(c *call) error {
			c.header(typeJSON, -1)
			if err := c.send([]byte(`{"half":`)); err != nil {
				return err
			}
			panic("late")
		}})
	d := f.device("u1", "phone")
	if got := d.get(t, "/panic").is(t, http.StatusInternalServerError, "pull_failed"); strings.Contains(got.body, "secret") {
		t.Errorf("the client sees %s", got.body)
	}
	if got, err := d.try(http.MethodGet, "/panic-late", ""); err == nil {
		t.Errorf("an answer that was cut looks whole: %q", got.body)
	}
	d.connect(t)
	for line := range strings.Lines(log.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["request_id"] != "test" {
			t.Errorf("a line of the log: %s", line)
		}
	}
	if !strings.Contains(log.String(), "the secret of the program") {
		t.Error("the log does not say why")
	}
}

// An id of the client is kept if it can stand in a log.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	for given, kept := range map[string]bool{"abc-1": true, "": false, "a b": false, "x\n": false, strings.Repeat("x", 129): false, "é": false} {
		r := &http.Request{Header: http.Header{"X-Request-Id": {given}}}
		if got := requestID(r); (got == given) != kept || got == "" {
			t.Errorf("%q: got %q", given, got)
		}
	}
}
