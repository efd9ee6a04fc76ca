package auth

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// Development mode believes this machine, and says so each time; nobody else gets in.
func TestTrustedHeader(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	middleware := TrustHeader("X-User", slog.New(slog.NewTextHandler(&log, nil)))
	for name, test := range map[string]struct {
		remote, host string
		header       []string
		want         string
	}{
		"this machine":     {"127.0.0.1:5", "localhost:8080", []string{"X-User", "42"}, "42"},
		"its IPv6":         {"[::1]:5", "[::1]:8080", []string{"X-User", "42"}, "42"},
		"an emulator":      {"127.0.0.1:5", "10.0.2.2:8080", []string{"X-User", "42"}, "42"},
		"another machine":  {"192.0.2.1:5", "192.0.2.9:8080", []string{"X-User", "42"}, ""},
		"a proxy":          {"127.0.0.1:5", "localhost", []string{"X-User", "42", "X-Forwarded-For", "192.0.2.1"}, ""},
		"a rebound name":   {"127.0.0.1:5", "evil.example:8080", []string{"X-User", "42"}, ""},
		"two users":        {"127.0.0.1:5", "localhost", []string{"X-User", "42", "X-User", "43"}, ""},
		"no user":          {"127.0.0.1:5", "localhost", []string{"X-User", ""}, ""},
		"no header":        {"127.0.0.1:5", "localhost", nil, ""},
		"a very long user": {"127.0.0.1:5", "localhost", []string{"X-User", strings.Repeat("x", 501)}, ""},
	} {
		log.Reset()
		request := httptest.NewRequest("GET", "/", nil)
		request.RemoteAddr, request.Host = test.remote, test.host
		for i := 0; i < len(test.header); i += 2 {
			request.Header.Add(test.header[i], test.header[i+1])
		}
		identity, ok, refused := seenOf(middleware, request)
		if identity.UserID != test.want || ok != (test.want != "") || (!ok && !strings.Contains(refused.Reason, "development mode")) {
			t.Errorf("%s: %q, %+v", name, identity.UserID, refused)
		}
		if ok != strings.Contains(log.String(), "level=WARN") {
			t.Errorf("%s: log %q", name, log.String())
		}
	}
}
