package hostiletest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/runtime/server"
)

// texts are hard to store, to print, or to tell from code.
var texts = []string{
	"\xff", "a\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\u202e", "\u0130", "é", "é", "🙂", "'", `"`, `\`, "%", "$1", "$$", "--", ";", "{}", "user:ben", "../../etc/passwd", "<script>", "a\tb", "%00", "%s%n", strings.Repeat("x", 513), strings.Repeat("🙂", 200),
}

// Headers, sources, queries and paths have any bytes that HTTP lets through.
func TestTextsEverywhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	s.do(t, "ann", "phone", http.MethodPost, "/sync/push", push(1, thing(`"a"`, ``))).is(t, http.StatusOK, "")
	for i, text := range texts {
		name := fmt.Sprintf("%d %q", i, text)
		s.do(t, "ann", text, http.MethodPost, "/sync/push", push(1, thing(fmt.Sprintf(`"of source %d"`, i), ``))).blames(t, "push of source "+name)
		s.do(t, text, "phone", http.MethodPost, "/sync/connect", `{}`).blames(t, "user "+name)
		s.do(t, text, "phone", http.MethodPost, "/sync/push", push(1, thing(fmt.Sprintf(`"of user %d"`, i), ``))).blames(t, "push of user "+name)
		for _, header := range []string{"X-Request-Id", "Tide-App-Version", "Tide-Platform", "Tide-Device-Name", "Accept", "Accept-Encoding", "Content-Type", "Content-Encoding", "Last-Event-Id", "Traceparent", "Tracestate", "Origin", "Cookie", "Range", "If-None-Match", "Expect", "X-Http-Method-Override"} {
			if header == "Expect" {
				continue // net/http answers it alone
			}
			s.do(t, "ann", "phone", http.MethodPost, "/sync/connect", `{}`, header, text).blames(t, header+" "+name)
		}
		for _, path := range []string{"/sync/pull?" + url.QueryEscape(text) + "=1", "/sync/snapshot?x=" + url.QueryEscape(text), "/" + url.PathEscape(text), "/sync/" + url.PathEscape(text)} {
			s.do(t, "ann", "phone", http.MethodGet, path, "").blames(t, path)
		}
		for _, path := range []string{"/sync/push-sessions/" + url.PathEscape(text), "/sync/snapshot-sessions/" + url.PathEscape(text)} {
			s.do(t, "ann", "phone", http.MethodDelete, path, "").is(t, http.StatusNotFound, "")
		}
	}
	for _, query := range []string{"%zz", "%", "a=%f", ";", "&&&", "=", "after_bundle_seq=-1", "after_bundle_seq=1e3", "after_bundle_seq=+1", "after_bundle_seq=%201", "after_bundle_seq=9223372036854775808", "max_bundles=0", "max_bundles=99999999", "after_bundle_seq=" + strings.Repeat("9", 5000)} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.web.URL+"/sync/pull", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.RawQuery = query
		request.Header.Set("Authorization", token(t, "ann"))
		request.Header.Set("Tide-Source-ID", "phone")
		s.send(t, request).blames(t, query)
	}
	// Users who differ in bytes differ in rows; nobody has got the rows of another.
	rows, err := s.db.Query(t.Context(), `SELECT owner FROM app.thing WHERE id LIKE 'of source%' AND owner <> 'ann'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if rows.Next() {
		t.Error("a row of ann is another's")
	}
}

// Two names for one thing are refused, not chosen from.
func TestHeadersTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	s.do(t, "ann", "phone", http.MethodGet, "/sync/pull", "", "Tide-Source-Id", "other").is(t, http.StatusBadRequest, "invalid_request")
	s.do(t, "ann", "phone", http.MethodGet, "/sync/pull", "", "Oversync-Source-Id", "other").is(t, http.StatusBadRequest, "invalid_request")
	s.do(t, "ann", "phone", http.MethodGet, "/sync/pull", "", "Oversync-Source-Id", "").is(t, http.StatusBadRequest, "invalid_request")
	s.do(t, "ann", "phone", http.MethodGet, "/sync/pull", "", "Oversync-Source-Id", " phone ").is(t, http.StatusOK, "")
	s.do(t, "ann", "phone", http.MethodGet, "/sync/pull", "", "Authorization", token(t, "ben")).is(t, http.StatusUnauthorized, "authentication_failed")
	s.do(t, "ann", " ", http.MethodGet, "/sync/pull", "").is(t, http.StatusBadRequest, "invalid_request")
}
