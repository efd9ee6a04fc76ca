package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pgtide/pgtide/runtime/wire"
)

// with sends a request that has these headers too.
func (d phone) with(t testing.TB, method, path, body string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, d.f.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"X-User": {d.user}, "Tide-Source-Id": {d.source}}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	response, err := d.f.through(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = response.Body.Close() }() // it was read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// later checks that an answer says when to come again.
func (a answer) later(t testing.TB, status int, code, retryAfter string) {
	t.Helper()
	a.is(t, status, code)
	if got := a.header.Get("Retry-After"); got != retryAfter || a.field(t, "retryable") != "true" {
		t.Errorf("Retry-After %q, not %q: %s", got, retryAfter, a.body)
	}
}

// A user who asks too often is told when to come again; others do not notice.
func TestRequestsOfAUser(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{RequestsPerUser: 1})
	ann, ben := f.device("ann", "a"), f.device("ben", "b")
	for n := 1; ; n++ {
		got := ann.get(t, "/sync/capabilities")
		if got.status == http.StatusOK && n < 1000 {
			continue
		}
		got.later(t, http.StatusTooManyRequests, "too_many_requests", "1")
		if n <= burstSeconds {
			t.Errorf("refused at request %d", n)
		}
		break
	}
	ben.get(t, "/sync/capabilities").is(t, http.StatusOK, "")
}

// One user's requests wait for each other, not those of others for his.
func TestAUserDoesNotStarveOthers(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{MaxRequestsPerUser: 1, QueueTimeout: 3 * time.Second, LockTimeout: time.Minute})
	ann, ben := f.device("ann", "a").connect(t), f.device("ben", "b").connect(t)
	ann.push(t, 1, note("INSERT", 1, 0, `"body":"a"`))
	tx, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // it is over already
	if _, err := tx.Exec(t.Context(), `SELECT FROM app.note FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	pushed := make(chan answer, 1)
	go func() {
		got, err := ann.try(http.MethodPost, "/sync/push", pushOf(2, note("UPDATE", 1, 1, `"body":"b"`)))
		if err != nil {
			t.Error(err)
		}
		pushed <- got
	}()
	share := f.server.shares.of("ann")
	for len(share.slots) == 0 {
		time.Sleep(time.Millisecond)
	}
	f.device("ann", "another device").get(t, "/sync/pull").later(t, http.StatusTooManyRequests, "too_many_requests", "1")
	ben.get(t, "/sync/pull").is(t, http.StatusOK, "")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := <-pushed
	got.is(t, http.StatusOK, "")
	ann.get(t, "/sync/pull").is(t, http.StatusOK, "")
}

// Without a free connection nobody waits long.
func TestQueueForAConnection(t *testing.T) {
	t.Parallel()
	f := newFrontOf(t, Config{}, 2)
	d := f.device("ann", "a").connect(t)
	d.get(t, "/sync/pull").is(t, http.StatusOK, "")
	f.server.config.QueueTimeout = 20 * time.Millisecond // less than a busy machine may take to connect
	for range 2 {
		conn, err := f.server.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
	for _, path := range []string{"/sync/pull", "/sync/capabilities", "/sync/snapshot"} {
		d.get(t, path).later(t, http.StatusServiceUnavailable, "server_busy", "1")
	}
}

// One user's large answers leave room for those of others.
func TestStreamsOfAUser(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{BufferBytes: 1, MaxStreams: 2})
	ann, ben := f.device("ann", "a").connect(t), f.device("ben", "b").connect(t)
	ann.push(t, 1, note("INSERT", 1, 0, `"body":"a"`))
	ben.push(t, 1, note("INSERT", 2, 0, `"body":"b"`))
	share := f.server.shares.of("ann")
	share.streams <- struct{}{}
	ann.get(t, "/sync/pull").later(t, http.StatusTooManyRequests, "too_many_streams", "1")
	ben.get(t, "/sync/pull").is(t, http.StatusOK, "")
	<-share.streams
	ann.get(t, "/sync/pull").is(t, http.StatusOK, "")
	if len(share.streams)+len(f.server.streams) > 0 {
		t.Errorf("%d and %d streams are left", len(share.streams), len(f.server.streams))
	}
}

// The host has a word, in its own code if it wants.
func TestTheHostRefuses(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{Admit: func(r *http.Request) error {
		switch r.URL.Query().Get("host") {
		case "busy":
			return errors.New("a secret of the host")
		case "paid":
			return wire.Refuse(wire.TooManyRequests, "Buy more.")
		}
		return nil
	}})
	d := f.device("ann", "a")
	got := d.get(t, "/sync/capabilities?host=busy")
	got.later(t, http.StatusServiceUnavailable, "server_busy", "1")
	if strings.Contains(got.body, "secret") {
		t.Error(got.body)
	}
	d.get(t, "/sync/capabilities?host=paid").is(t, http.StatusTooManyRequests, "too_many_requests")
	d.get(t, "/sync/capabilities").is(t, http.StatusOK, "")
}
