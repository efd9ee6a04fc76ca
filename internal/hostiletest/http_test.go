package hostiletest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/runtime/server"
)

// Requests that are hardly HTTP. What net/http itself refuses has no code of ours, and the connection
// is closed after it, so that nothing can be smuggled behind; a Transfer-Encoding or a version that it
// does not know it answers with 501 and 505, as HTTP says.
func TestBytesThatAreHardlyHTTP(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	allowed := "Host: x\r\nAuthorization: " + token(t, "ann") + "\r\nTide-Source-ID: phone\r\n"
	smuggled := "POST /sync/push HTTP/1.1\r\n" + allowed + "Content-Length: 5\r\n\r\n{}   "
	// HTTP lets a server take these for what they are meant to be.
	harmless := []string{"a body of GET", "a bare line feed", "a folded header"}
	before := s.state(t)
	for name, text := range map[string]string{
		"no HTTP":                   "hello\r\n\r\n",
		"HTTP/0.9":                  "GET /sync/pull\r\n\r\n",
		"HTTP/3.7":                  "GET /sync/pull HTTP/3.7\r\n" + allowed + "\r\n",
		"HTTP/2 without an upgrade": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"TLS":                       "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"no host":                   "GET /sync/pull HTTP/1.1\r\n\r\n",
		"two hosts":                 "GET /sync/pull HTTP/1.1\r\nHost: y\r\n" + allowed + "\r\n",
		"a host that is none":       "GET /sync/pull HTTP/1.1\r\nHost: a b\r\n\r\n",
		"a header with a zero byte": "GET /sync/pull HTTP/1.1\r\n" + allowed + "X: a\x00b\r\n\r\n",
		"a source with a zero byte": "GET /sync/pull HTTP/1.1\r\nHost: x\r\nTide-Source-ID: a\x00b\r\n\r\n",
		"a folded header":           "GET /sync/pull HTTP/1.1\r\n" + allowed + "X: a\r\n b\r\n\r\n",
		"a header without a name":   "GET /sync/pull HTTP/1.1\r\n" + allowed + ": a\r\n\r\n",
		"a space before the colon":  "GET /sync/pull HTTP/1.1\r\n" + allowed + "Content-Length : 5\r\n\r\n",
		"a bare line feed":          "GET /sync/pull HTTP/1.1\nHost: x\n\n",
		"a bare carriage return":    "GET /sync/pull HTTP/1.1\r\n" + allowed + "X: a\rY: b\r\n\r\n",
		"a large header":            "GET /sync/pull HTTP/1.1\r\n" + allowed + "X: " + strings.Repeat("x", 200<<10) + "\r\n\r\n",
		"many headers":              "GET /sync/pull HTTP/1.1\r\n" + allowed + strings.Repeat("X: y\r\n", 20000) + "\r\n",
		"a long path":               "GET /" + strings.Repeat("x", 200<<10) + " HTTP/1.1\r\n" + allowed + "\r\n",
		"a method that is none":     "GE(T /sync/pull HTTP/1.1\r\n" + allowed + "\r\n",
		"another method":            "FROB /sync/pull HTTP/1.1\r\n" + allowed + "\r\n",
		"CONNECT":                   "CONNECT example.org:443 HTTP/1.1\r\n" + allowed + "\r\n",
		"OPTIONS *":                 "OPTIONS * HTTP/1.1\r\n" + allowed + "\r\n",
		"TRACE":                     "TRACE /sync/pull HTTP/1.1\r\n" + allowed + "\r\n",
		"another host's URL":        "GET http://example.org/sync/status HTTP/1.1\r\n" + allowed + "\r\n",
		"a path without a slash":    "GET sync/pull HTTP/1.1\r\n" + allowed + "\r\n",
		"two slashes":               "GET //sync/pull HTTP/1.1\r\n" + allowed + "\r\n",
		"up and down":               "GET /sync/../syncx/status HTTP/1.1\r\n" + allowed + "\r\n",
		"up and down, escaped":      "GET /sync/%2e%2e/syncx/status HTTP/1.1\r\n" + allowed + "\r\n",
		"an escaped slash":          "GET /syncx%2fstatus HTTP/1.1\r\n" + allowed + "\r\n",
		"a backslash":               "GET /syncx\\status HTTP/1.1\r\n" + allowed + "\r\n",
		"a zero byte in the path":   "GET /sync/pull%00 HTTP/1.1\r\n" + allowed + "\r\n",
		"a bad escape":              "GET /sync/%zz HTTP/1.1\r\n" + allowed + "\r\n",
		"a dot at the end":          "GET /sync/pull. HTTP/1.1\r\n" + allowed + "\r\n",
		"a slash at the end":        "GET /sync/pull/ HTTP/1.1\r\n" + allowed + "\r\n",
		"another case":              "GET /SYNC/pull HTTP/1.1\r\n" + allowed + "\r\n",
		"an operator's route":       "GET /syncx/status HTTP/1.1\r\n" + allowed + "\r\n",
		"its token in the URL":      "GET /syncx/status?access_token=x HTTP/1.1\r\n" + allowed + "\r\n",
		"metrics":                   "GET /metrics HTTP/1.1\r\n" + allowed + "\r\n",
		"two lengths":               "POST /sync/push HTTP/1.1\r\n" + allowed + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
		"a negative length":         "POST /sync/push HTTP/1.1\r\n" + allowed + "Content-Length: -1\r\n\r\n{}",
		"a length that is none":     "POST /sync/push HTTP/1.1\r\n" + allowed + "Content-Length: 0x2\r\n\r\n{}",
		"a length with a plus":      "POST /sync/push HTTP/1.1\r\n" + allowed + "Content-Length: +2\r\n\r\n{}",
		"an enormous length":        "POST /sync/push HTTP/1.1\r\n" + allowed + "Content-Length: 9223372036854775807\r\n\r\n{}",
		"a chunk that is none":      "POST /sync/push HTTP/1.1\r\n" + allowed + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
		"an enormous chunk":         "POST /sync/push HTTP/1.1\r\n" + allowed + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
		"chunked twice":             "POST /sync/push HTTP/1.1\r\n" + allowed + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"an unknown encoding":       "POST /sync/push HTTP/1.1\r\n" + allowed + "Transfer-Encoding: gzip\r\n\r\n{}",
		"chunked and a length":      "POST /sync/push HTTP/1.1\r\n" + allowed + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"chunked in disguise":       "POST /sync/push HTTP/1.1\r\n" + allowed + "Content-Length: 6\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + smuggled,
		"a body of GET":             "GET /sync/pull HTTP/1.1\r\n" + allowed + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
		"an upgrade":                "GET /sync/watch HTTP/1.1\r\n" + strings.Replace(allowed, "ann", "x", 1) + "Upgrade: websocket\r\nConnection: Upgrade\r\nTide-Source-ID: other\r\n\r\n",
		"an unknown expectation":    "POST /sync/push HTTP/1.1\r\n" + allowed + "Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.0":                  "GET /sync/nothing HTTP/1.0\r\n" + allowed + "\r\n",
	} {
		got, closed := s.raw(t, text)
		ours := got.header.Get("X-Request-Id") != ""
		switch {
		case closed, !ours && (got.status == http.StatusNotImplemented || got.status == http.StatusHTTPVersionNotSupported):
		case !ours && got.status >= 400 && got.status < 500, name == "OPTIONS *" && got.status == http.StatusOK:
		default:
			got.blames(t, name)
			if got.status < 400 && !slices.Contains(harmless, name) {
				t.Errorf("%s: %d %.200s", name, got.status, got.body)
			}
		}
	}
	if after := s.state(t); after != before {
		t.Errorf("something was changed: %s, %s", before, after)
	}
}

// A client that promises a body the server will not take need not send it.
func TestExpectations(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	head := "POST /sync/push HTTP/1.1\r\nHost: x\r\nTide-Source-ID: phone\r\nExpect: 100-continue\r\nContent-Length: 500\r\n"
	for name, test := range map[string]struct {
		authorization string
		status        int
		code          string
	}{
		"nobody": {"", http.StatusUnauthorized, "authentication_failed"},
		"forged": {"Authorization: Bearer x.y.z\r\n", http.StatusUnauthorized, "authentication_failed"},
	} {
		got, closed := s.raw(t, head+test.authorization+"\r\n")
		if closed {
			t.Fatalf("%s: closed", name)
		}
		got.is(t, test.status, test.code)
	}
	conn := s.dial(t)
	defer func() { _ = conn.Close() }() // nothing follows
	if _, err := io.WriteString(conn, head+"Authorization: "+token(t, "ann")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("HTTP/1.1 100"))
	if _, err := io.ReadFull(conn, line); err != nil || string(line) != "HTTP/1.1 100" {
		t.Errorf("%q %v", line, err)
	}
}
