package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pgtide/pgtide/runtime/auth"
)

// ask goes to the server without a network between.
func ask(s *Server, method, target, source, body string) (*httptest.ResponseRecorder, error) {
	request, err := http.NewRequest(method, "http://test/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(target, "?")
	request.URL.Path, request.URL.RawQuery = path, query
	request.Header["Oversync-Source-Id"] = []string{source}
	request = request.WithContext(auth.WithIdentity(request.Context(), auth.Identity{UserID: "fuzz"}))
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, request)
	return recorder, nil
}

// blameless fails when the server blames itself, or does not say what is wrong.
func blameless(t *testing.T, got *httptest.ResponseRecorder, request ...string) {
	t.Helper()
	if got.Code >= http.StatusInternalServerError {
		t.Fatalf("%q: %d %s", request, got.Code, got.Body)
	}
	if got.Code >= http.StatusBadRequest {
		var body struct{ Error, Message string }
		if err := json.Unmarshal(got.Body.Bytes(), &body); err != nil || body.Error == "" || body.Message == "" {
			t.Fatalf("%q: %d %s", request, got.Code, got.Body)
		}
	}
}

// fuzzed is a server with a row, a bundle and a snapshot of the user fuzz.
func fuzzed(f *testing.F) *Server {
	front := newFront(f, Config{})
	d := front.device("fuzz", "phone").connect(f)
	d.push(f, 1, task("INSERT", taskA, 0, `"title":"a"`))
	return front.server
}

// Whatever a body holds, the answer blames the request or is a success.
func FuzzBody(f *testing.F) {
	s := fuzzed(f)
	routes := []string{"/sync/connect", "/sync/push", "/sync/push-sessions", "", "/sync/snapshot-sessions"}
	for i, body := range []string{
		`{"has_local_pending_rows":true}`,
		pushOf(1, task("UPDATE", taskA, 1, `"title":"b"`), note("INSERT", 1, 0, `"body":null`)),
		`{"source_bundle_id":1,"planned_row_count":1,"initialization_id":"` + taskA + `"}`,
		chunkOf(0, task("INSERT", taskB, 0, `"title":"\ud83d\ude00","rank":1e400`)),
		`{"source_replacement":{"previous_source_id":"old","new_source_id":"other","reason":"history_pruned"}}`,
	} {
		f.Add(uint8(i), body)
		f.Add(uint8(i), body[:len(body)/2])
	}
	for _, body := range []string{
		"", "null", "[]", "{}", `{"rows":[null]}`, `{"rows":[[]]}`, `{"rows":{}}`, `{"rows":"x"}`, strings.Repeat("[", 20000), `{"rows":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}",
		`{"source_bundle_id":1,"rows":[{"schema":"app","table":"task","key":{"id":"` + taskB + `"},"op":"INSERT","payload":{"title":"\u0000"}}]}`,
		`{"source_bundle_id":1,"rows":[{"schema":"app","table":"task","key":{"id":"\ud800"},"op":"INSERT","payload":{"title":1}}]}`,
		`{"source_bundle_id":1,"rows":[{"schema":"app","table":"note","key":{"id":99999999999999999999},"op":"INSERT","payload":{}}]}`,
		`{"source_bundle_id":1,"rows":[{"schema":"app","table":"task","key":{"id":"` + taskB + `"},"op":"INSERT","base_row_version":1e3,"payload":{"title":{"a":[1]},"done":"maybe","rank":1.5}}]}`,
		`{"source_bundle_id":1,"rows":[{"schema":"app","table":"task","key":{"id":{"x":1}},"op":"UPDATE","base_row_version":-1,"payload":[]}]}`,
		"{\"source_bundle_id\":2,\"rows\":[{\"schema\":\"app\xff\",\"table\":\"task\",\"op\":\"DELETE\",\"key\":{\"id\":\"\xc3\"}}]}",
		`{"source_bundle_id":9223372036854775807,"planned_row_count":9223372036854775807,"start_row_ordinal":9223372036854775807,"rows":[{}]}`,
		`{"source_bundle_id":-9223372036854775808,"start_row_ordinal":-9223372036854775808}`,
		`{"source_replacement":{"previous_source_id":"phone","new_source_id":"\u0000"}}`, `{"source_replacement":{}}`, `{"source_replacement":[]}`,
	} {
		for i := range routes {
			f.Add(uint8(i), body)
		}
	}
	var sources atomic.Int64
	f.Fuzz(func(t *testing.T, route uint8, body string) {
		// A source of its own, so that what one body did stands in no other's way.
		source := fmt.Sprintf("phone-%d", sources.Add(1))
		path := routes[int(route)%len(routes)]
		if path == "" {
			created, err := ask(s, http.MethodPost, "/sync/push-sessions", source, `{"source_bundle_id":1,"planned_row_count":1000}`)
			if err != nil {
				t.Fatal(err)
			}
			var session struct {
				PushID string `json:"push_id"`
			}
			if err := json.Unmarshal(created.Body.Bytes(), &session); err != nil || session.PushID == "" {
				session.PushID = taskA // the number was used, or the source replaced
			}
			path = "/sync/push-sessions/" + session.PushID + "/chunks"
		}
		if path == "/sync/snapshot-sessions" {
			source = "old"
		}
		got, err := ask(s, http.MethodPost, path, source, body)
		if err != nil {
			t.Fatal(err)
		}
		blameless(t, got, path, body)
	})
}

// The same for methods, paths, parameters and sources.
func FuzzTarget(f *testing.F) {
	s := fuzzed(f)
	for _, target := range []string{
		"/sync/pull?after_bundle_seq=1&max_bundles=2&target_bundle_seq=3", "/sync/pull?after_bundle_seq=9223372036854775807&target_bundle_seq=9223372036854775807",
		"/sync/pull?after_bundle_seq=99999999999999999999", "/sync/pull?%zz=;", "/sync/pull?max_bundles=0x10", "/sync/pull?max_bundles=5000",
		"/sync/committed-bundles/1/rows?after_row_ordinal=0&max_rows=1", "/sync/committed-bundles/9223372036854775807/rows?after_row_ordinal=9223372036854775807&max_rows=9223372036854775807",
		"/sync/committed-bundles/+1/rows", "/sync/committed-bundles//rows", "/sync/committed-bundles/1/rows/", "/sync/snapshot-sessions/" + taskA + "?max_rows=9223372036854775807",
		"/sync/snapshot-sessions/aaaaaaaaa0000-4000-8000-000000000001x", "/sync/push-sessions/" + taskA + "/commit", "/sync/push-sessions/{id}/commit", "/sync/push-sessions/%00/chunks",
		"/sync/capabilities", "/syncx/health", "/syncx/status", "/", "", "*", "//sync/pull", "/sync/../sync/pull", "/sync/pull#x",
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "PATCH"} {
			f.Add(method, target, "phone")
		}
	}
	f.Add("GET", "/sync/pull", "\x00")
	f.Add("POST", "/sync/connect", "a\xffb")
	f.Add("POST", "/sync/push-sessions", strings.Repeat("x", 600))
	f.Fuzz(func(t *testing.T, method, target, source string) {
		got, err := ask(s, method, target, source, `{"source_bundle_id":2,"planned_row_count":1}`)
		if err != nil {
			return // not a method
		}
		blameless(t, got, method, target, source)
	})
}
