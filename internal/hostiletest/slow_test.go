package hostiletest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pgtide/pgtide/runtime/server"
)

// Many clients send their requests byte by byte, and never finish; others are served meanwhile, and
// the slow ones are shown out.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{RequestTimeout: 3 * time.Second, WriteTimeout: time.Second})
	allowed := "Host: x\r\nAuthorization: " + token(t, "ann") + "\r\nTide-Source-ID: phone\r\n"
	s.do(t, "ben", "phone", http.MethodPost, "/sync/connect", `{}`).is(t, http.StatusOK, "")
	var slow []net.Conn
	for i := range 120 {
		conn := s.dial(t)
		defer func() { _ = conn.Close() }() // the server did
		text := []string{
			"G", "GET /sync/pull HTTP/1.1\r\nHost: x\r\nX: ", // the header does not end
			"POST /sync/push HTTP/1.1\r\n" + allowed + "Content-Length: 1000\r\n\r\n{\"source_bundle_id\"", // the body does not
			"POST /sync/push HTTP/1.1\r\n" + allowed + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",      // nor does this one
		}[i%4]
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	for i := range 5 {
		s.do(t, "ben", "phone", http.MethodPost, "/sync/push", push(i+1, thing(fmt.Sprintf(`"%d"`, i), ``))).is(t, http.StatusOK, "")
	}
	for i, conn := range slow {
		got, err := receive(conn)
		switch {
		case err != nil && i%4 < 2: // closed without a word
		case err != nil:
			t.Errorf("client %d: %v", i, err)
		default:
			if i%4 < 2 && got.status == http.StatusBadRequest { // net/http has not heard enough for an answer of ours
				continue
			}
			if got.code(t, "slow") != "invalid_request" && got.status != http.StatusTooManyRequests {
				t.Errorf("client %d: %d %s", i, got.status, got.body)
			}
		}
	}
}

// A client that does not read its answer holds nothing for long.
func TestClientsThatDoNotRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{WriteTimeout: time.Second, BufferBytes: 64 << 10, MaxStreams: 4, MaxStreamsPerUser: 4})
	if _, err := s.db.Exec(t.Context(), `INSERT INTO app.thing (id, owner, data) SELECT g, 'ann', jsonb_build_object('text', repeat(md5(g::text), 100)) FROM generate_series(1, 10000) AS g`); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		conn := s.dial(t)
		defer func() { _ = conn.Close() }() // the server did
		if _, err := io.WriteString(conn, "GET /sync/snapshot HTTP/1.1\r\nHost: x\r\nAuthorization: "+token(t, "ann")+"\r\nTide-Source-ID: phone\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	s.do(t, "ben", "phone", http.MethodPost, "/sync/connect", `{}`).is(t, http.StatusOK, "")
	until(t, "the streams ended", func() bool {
		got := s.do(t, "ann", "phone", http.MethodGet, "/sync/snapshot", "")
		return got.status == http.StatusOK && strings.HasSuffix(got.body, "\"row_count\":10000}\n")
	})
}
