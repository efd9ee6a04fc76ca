package hostiletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pgtide/pgtide/internal/contract"
	"github.com/pgtide/pgtide/runtime/server"
)

// operations are all that docs/openapi.yaml has, for these callers: what is added there is tried here.
func operations(t testing.TB, callers ...string) (some []contract.Operation) {
	t.Helper()
	all, err := contract.Operations()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if slices.Contains(callers, o.Caller) {
			some = append(some, o)
		}
	}
	if len(some) == 0 {
		t.Fatalf("no operation for %v", callers)
	}
	return some
}

// begun is what a device has that has begun everything: what stands there makes a request get far.
type begun struct{ push, snapshot, cursor string }

func (s *site) begin(t testing.TB) (b begun) {
	t.Helper()
	take := func(path, body, field string) string {
		got := s.do(t, "ann", "phone", http.MethodPost, path, body)
		var answer map[string]any
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
			t.Fatalf("%s: %v", got.body, err)
		}
		value, ok := answer[field].(string)
		if !ok {
			t.Fatalf("%s: %d %s", path, got.status, got.body)
		}
		return value
	}
	b.push = take("/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":100000}`, "push_id")
	b.snapshot = take("/sync/snapshot-sessions", ``, "snapshot_id")
	b.cursor = take("/sync/connect", `{"has_local_pending_rows":false,"buckets":true}`, "cursor")
	return b
}

// path has the segment in braces replaced, by what is there when text is empty.
func (b begun) path(o contract.Operation, text string) string {
	before, rest, found := strings.Cut(o.Path, "{")
	if !found {
		return o.Path
	}
	name, after, _ := strings.Cut(rest, "}")
	switch {
	case text != "":
	case name == "seq":
		text = "1"
	case strings.Contains(before, "push"):
		text = b.push
	default:
		text = b.snapshot
	}
	return before + url.PathEscape(text) + after
}

// body is what the contract allows, with names that mean something here.
func (b begun) body(t testing.TB, o contract.Operation) string {
	t.Helper()
	if o.Body == nil {
		return ""
	}
	text, err := json.Marshal(b.meaningful("", o.Body))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (b begun) meaningful(name string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		filled := map[string]any{}
		for field, of := range v {
			filled[field] = b.meaningful(field, of)
		}
		return filled
	case []any:
		return []any{b.meaningful(name, v[0])}
	case string:
		known := map[string]string{"cursor": b.cursor, "bucket": "user:ann", "buckets": "user:ann", "schema": "app", "table": "thing", "op": "INSERT",
			"prefixes": "", "initialization_id": "", "previous_source_id": "phone"}
		if is, ok := known[name]; ok {
			return is
		}
	case int:
		if strings.HasPrefix(name, "start") || strings.HasPrefix(name, "base") {
			return 0
		}
	}
	return value
}

// Every parameter of every route may be any text.
func TestParametersOfEveryRoute(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	b := s.begin(t)
	s.do(t, "ann", "desk", http.MethodPost, "/sync/push", push(1, thing(`"a"`, ``))).is(t, http.StatusOK, "")
	values := append([]string{"-1", "1e3", "+1", " 1", "0x1", "9223372036854775807", "9223372036854775808", strings.Repeat("9", 5000), b.cursor + "A", b.cursor[:20], "user:ben"}, texts...)
	for _, o := range operations(t, "device") {
		body := b.body(t, o)
		for _, value := range values {
			name := fmt.Sprintf("%s %s %.50q", o.Method, o.Path, value)
			s.do(t, "ann", value, o.Method, b.path(o, ""), body).blames(t, name+" as source")
			for _, parameter := range o.Query {
				s.do(t, "ann", "phone", o.Method, b.path(o, "")+"?"+parameter+"="+url.QueryEscape(value), body).blames(t, name+" as "+parameter)
				s.do(t, "ann", "phone", o.Method, b.path(o, "")+"?"+parameter+"=0&"+parameter+"="+url.QueryEscape(value), body).blames(t, name+" as second "+parameter)
			}
			for _, header := range o.Header[1:] { // the first is the source
				s.do(t, "ann", "phone", o.Method, b.path(o, ""), body, header, value).blames(t, name+" as "+header)
			}
			if strings.Contains(o.Path, "{") {
				if got := s.do(t, "ann", "phone", o.Method, b.path(o, value), body); got.status < 400 && value != "+1" {
					t.Errorf("%s in the path: %d %s", name, got.status, got.body)
				} else {
					got.blames(t, name+" in the path")
				}
			}
		}
	}
}

// Routes take their own methods and no other.
func TestMethodsOfEveryRoute(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	b := s.begin(t)
	all := operations(t, "device", "everybody", "operator")
	for _, o := range all {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, "FROB"} {
			if slices.ContainsFunc(all, func(other contract.Operation) bool { return other.Path == o.Path && other.Method == method }) {
				continue
			}
			got := s.do(t, "ann", "phone", method, b.path(o, ""), "")
			if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") == "" || (method != http.MethodHead && got.code(t, method) != "method_not_allowed") {
				t.Errorf("%s %s: %d %v %s", method, o.Path, got.status, got.header, got.body)
			}
		}
	}
}

// The routes of operators are closed to everybody else.
func TestRoutesOfOperators(t *testing.T) {
	t.Parallel()
	const operatorToken = "the token of operators"
	s := newSite(t, server.Config{OperatorToken: operatorToken})
	for _, o := range operations(t, "operator") {
		for _, token := range []string{"", "Bearer ", "Bearer", token(t, "ann"), "Bearer " + operatorToken[1:], "Bearer " + operatorToken + " ", "bearer" + operatorToken, "Basic " + operatorToken, "Bearer Bearer " + operatorToken} {
			request, err := http.NewRequestWithContext(t.Context(), o.Method, s.web.URL+o.Path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", token)
			if got := s.send(t, request); strings.TrimSpace(token) != "Bearer "+operatorToken {
				got.is(t, http.StatusUnauthorized, "authentication_failed")
			}
		}
	}
}

// A small body that is a large one, or none, once it is decompressed is refused before it takes memory.
func TestBombsOnEveryRoute(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	b := s.begin(t)
	compressed := func(to func(io.Writer) io.WriteCloser) string {
		var packed bytes.Buffer
		into := to(&packed)
		for range 64 {
			if _, err := into.Write(bytes.Repeat([]byte(" "), maxBody)); err != nil {
				t.Fatal(err)
			}
		}
		if err := into.Close(); err != nil {
			t.Fatal(err)
		}
		return packed.String()
	}
	zipped := compressed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	zstandard := compressed(func(w io.Writer) io.WriteCloser {
		into, err := zstd.NewWriter(w)
		if err != nil {
			t.Fatal(err)
		}
		return into
	})
	before := s.state(t)
	for _, o := range operations(t, "device") {
		if o.Body == nil {
			continue
		}
		for _, test := range []struct {
			coding, body string
			status       int
			code         string
		}{
			{"gzip", zipped, http.StatusRequestEntityTooLarge, "request_too_large"},
			{"zstd", zstandard, http.StatusRequestEntityTooLarge, "request_too_large"},
			{"gzip", zipped[:100], http.StatusBadRequest, "invalid_request"},
			{"gzip", zstandard, http.StatusBadRequest, "invalid_request"},
			{"zstd", zipped, http.StatusBadRequest, "invalid_request"},
			{"gzip, gzip", zipped, http.StatusUnsupportedMediaType, "unsupported_encoding"},
			{"br", "x", http.StatusUnsupportedMediaType, "unsupported_encoding"},
		} {
			s.do(t, "ann", "phone", o.Method, b.path(o, ""), test.body, "Content-Encoding", test.coding).is(t, test.status, test.code)
		}
	}
	if after := s.state(t); after != before {
		t.Errorf("something was changed: %s, %s", before, after)
	}
}
