// Package largetest moves a million rows through the HTTP front.
package largetest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

const (
	rows = 1_000_000
	// flat is what the front may take beyond what it has before, whatever the size of an answer.
	flat = 48 << 20
)

var secret = []byte("a secret of thirty-two bytes and more")

// A home bucket of a million rows is streamed and fetched in chunks, and a bundle of as many is pulled,
// while the front's memory stays flat.
func TestAMillionRows(t *testing.T) {
	db := pgtest.New(t)
	for _, sql := range []string{
		`CREATE SCHEMA app`,
		`CREATE TABLE app.item (id bigint PRIMARY KEY, owner_id text NOT NULL, title text NOT NULL, n bigint NOT NULL)`,
		`INSERT INTO app.item SELECT g, 'ann', 'title of row ' || g, g FROM generate_series(1, ` + fmt.Sprint(rows) + `) AS g`,
		`SELECT tide.register_table('app.item', owner_column => 'owner_id', push_policy => 'owner_only')`,
		`SELECT tide.seal()`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	front := httptest.NewServer(auth.Bearer(secret)(server.New(db.Pool, server.Config{RequestTimeout: 5 * time.Minute})))
	defer front.Close()
	c := &client{t: t, url: front.URL}
	c.call(http.MethodPost, "/sync/connect", `{"has_local_pending_rows":false}`, func(io.Reader) {})

	peak := watchMemory(t)
	c.call(http.MethodGet, "/sync/snapshot", "", func(body io.Reader) {
		lines := bufio.NewScanner(body)
		var last string
		n := 0
		for ; lines.Scan(); n++ {
			last = lines.Text()
		}
		if n != rows+2 || !strings.HasPrefix(last, `{"done":true`) {
			t.Errorf("the stream has %d lines, the last is %s", n, last)
		}
	})
	peak("streaming the snapshot")

	var session struct {
		ID   string `json:"snapshot_id"`
		Seq  int64  `json:"snapshot_bundle_seq"`
		Rows int64  `json:"row_count"`
	}
	c.call(http.MethodPost, "/sync/snapshot-sessions", "", func(body io.Reader) { c.read(body, &session) })
	if session.Rows != rows {
		t.Errorf("the session has %d rows", session.Rows)
	}
	peak("making a session")
	for after, more := int64(0), true; more; {
		var chunk struct {
			Next int64 `json:"next_row_ordinal"`
			More bool  `json:"has_more"`
		}
		c.call(http.MethodGet, fmt.Sprintf("/sync/snapshot-sessions/%s?after_row_ordinal=%d&max_rows=5000", session.ID, after), "", func(body io.Reader) { c.read(body, &chunk) })
		if chunk.Next != after+5000 || chunk.More != (chunk.Next < rows) {
			t.Fatalf("after %d: %+v", after, chunk)
		}
		after, more = chunk.Next, chunk.More
	}
	peak("fetching it in chunks")

	if _, err := db.Exec(t.Context(), `UPDATE app.item SET n = n + 1`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `SELECT tide.seal()`); err != nil {
		t.Fatal(err)
	}
	peak("sealing")
	c.call(http.MethodGet, fmt.Sprintf("/sync/pull?after_bundle_seq=%d", session.Seq), "", func(body io.Reader) {
		changes, tail := 0, ""
		for reader := bufio.NewReaderSize(body, 1<<16); ; {
			part, err := reader.ReadString('}')
			changes += strings.Count(part, `"op":"UPDATE"`)
			tail = (tail + part)[max(0, len(tail)+len(part)-200):]
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Error(err)
				break
			}
		}
		if changes != rows || !strings.Contains(tail, `"has_more":false`) {
			t.Errorf("the pull has %d changes and ends %s", changes, tail)
		}
	})
	peak("pulling a bundle of all rows")
	c.lines = true
	c.call(http.MethodGet, fmt.Sprintf("/sync/pull?after_bundle_seq=%d", session.Seq), "", func(body io.Reader) {
		lines := bufio.NewScanner(body)
		var last string
		n := 0
		for ; lines.Scan(); n++ {
			last = lines.Text()
		}
		if n != rows+4 || last != `{"done":true,"has_more":false}` {
			t.Errorf("the stream has %d lines, the last is %s", n, last)
		}
	})
	peak("pulling it in lines")
}

type client struct {
	t     *testing.T
	url   string
	lines bool // it asks for NDJSON
}

func (c *client) call(method, path, body string, read func(io.Reader)) {
	c.t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}).SignedString(secret)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Oversync-Source-ID", "phone")
	if c.lines {
		request.Header.Set("Accept", "application/x-ndjson")
	}
	response, err := http.DefaultClient.Do(request) // which decompresses what comes
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it was read
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		c.t.Fatalf("%s %s: %s %s", method, path, response.Status, text)
	}
	read(response.Body)
}

func (c *client) read(body io.Reader, into any) {
	c.t.Helper()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		c.t.Fatal(err)
	}
}

// watchMemory samples what lives on the heap; the function it returns says what it was at most since the last time.
func watchMemory(t *testing.T) func(what string) {
	t.Helper()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go func() {
		for ctx.Err() == nil {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			if now.HeapInuse > most.Load() {
				most.Store(now.HeapInuse)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return func(what string) {
		t.Helper()
		taken := int64(most.Swap(0)) - int64(before.HeapInuse)
		t.Logf("%s: %d MiB", what, taken>>20)
		if taken > flat {
			t.Errorf("%s took %d MiB", what, taken>>20)
		}
	}
}
