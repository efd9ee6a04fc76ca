package hostiletest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/contract"
	"github.com/pgtide/pgtide/runtime/server"
)

// wrong are values of every type, with those that are hard to read.
var wrong = []string{
	`null`, `true`, `0`, `-1`, `1.5`, `1e400`, `-0`, `9223372036854775808`, `123456789012345678901234567890`, `""`, `" "`, `"x"`, `"\u0000"`, `"\ud800"`, `"\udfff\ud800"`,
	`[]`, `[[]]`, `[null]`, `{}`, `{"":""}`, `{"id":{"id":"x"}}`, `"2026-13-45T99:99:99Z"`, `"infinity"`, `"NaN"`, `"[1,"`, `"{a,b"`, `"\\x0g"`, `"'; DROP TABLE app.thing; --"`,
}

// bodies are right ones, beside those of the contract: in each, every value is replaced by every wrong one.
func (b begun) bodies(t *testing.T, o contract.Operation) []string {
	t.Helper()
	full := `"owner":"ann","n":1,"amount":1.5,"at":"2026-01-02T03:04:05Z","flag":true,"data":{"a":[1]},"raw":{"b":null},"bytes":"AQ==","kind":"one","tags":["a"],"day":"2026-01-02","span":"[1,2)","parent":null`
	return append(map[string][]string{
		"/sync/push":                      {`{"source_bundle_id":1,"initialization_id":"","rows":[` + thing(`"t"`, full) + `,{"schema":"app","table":"pair","key":{"a":"1","b":"aaaaaaaa-0000-4000-8000-000000000001"},"op":"INSERT","base_row_version":0,"payload":{}}]}`},
		"/sync/push-sessions/{id}/chunks": {`{"start_row_ordinal":0,"rows":[` + thing(`"t"`, `"n":1`) + `]}`},
		"/sync/snapshot-sessions":         {`{"source_replacement":{"previous_source_id":"phone","new_source_id":"other","reason":"history_pruned"}}`, `{"cursor":"` + b.cursor + `","buckets":["user:ann"]}`},
		"/sync/verify":                    {`{"buckets":["user:ann"]}`, `{"bucket":"user:ann","schema":"app","table":"thing","prefixes":[""],"payload":true}`},
	}[o.Path], b.body(t, o))
}

// variants are a document with each of its values replaced in turn, and each of its fields renamed.
func variants(t *testing.T, document string) (texts []string) {
	t.Helper()
	var tree any
	if err := json.Unmarshal([]byte(document), &tree); err != nil {
		t.Fatal(err)
	}
	const mark = "the value that is replaced"
	var visit func(node any, set func(any))
	write := func() {
		text, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range wrong {
			texts = append(texts, strings.Replace(string(text), `"`+mark+`"`, value, 1))
		}
	}
	visit = func(node any, set func(any)) {
		set(mark)
		write()
		set(node)
		switch n := node.(type) {
		case map[string]any:
			for name, child := range n {
				visit(child, func(v any) { n[name] = v })
				delete(n, name)
				n[strings.ToUpper(name)+"\u0131"] = mark
				write()
				delete(n, strings.ToUpper(name)+"\u0131")
				n[name] = child
			}
		case []any:
			for i, child := range n {
				visit(child, func(v any) { n[i] = v })
			}
		}
	}
	visit(tree, func(v any) { tree = v })
	return texts
}

// Every value of every request may be of any type: it is refused with its reason, and nothing of a
// push that is refused is applied.
func TestWrongTypesEverywhere(t *testing.T) {
	t.Parallel()
	for _, o := range operations(t, "device") {
		if o.Body == nil {
			continue
		}
		t.Run(o.Path, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, server.Config{})
			b := s.begin(t)
			before := s.state(t)
			n := 0
			for _, body := range b.bodies(t, o) {
				for _, text := range variants(t, body) {
					source := "phone"
					if o.Path == "/sync/push" || o.Path == "/sync/push-sessions" {
						n++
						source = fmt.Sprintf("phone %d", n) // so that numbers do not get in the way
					}
					got := s.do(t, "ann", source, o.Method, b.path(o, ""), text)
					got.blames(t, text)
					if got.status == http.StatusOK {
						before = s.state(t)
					} else if after := s.state(t); after != before {
						t.Fatalf("%s was answered %d, and something was changed: %s, %s", text, got.status, before, after)
					}
				}
			}
			s.do(t, "ann", "the last", http.MethodPost, "/sync/push", push(1, thing(`"the last"`, ``))).is(t, http.StatusOK, "")
		})
	}
}

// Documents that are large, deep, broken or none.
func TestBodiesThatAreNone(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	deep := func(open, shut string, n int) string { return strings.Repeat(open, n) + strings.Repeat(shut, n) }
	good := thing(`"good"`, `"n":1`)
	b := s.begin(t)
	routes := slices.DeleteFunc(operations(t, "device"), func(o contract.Operation) bool { return o.Body == nil })
	before := s.state(t)
	for i, body := range []string{
		"", " ", "\ufeff{}", "nul", "nulll", "{", "}", "{}{}", "{} x", "[", "[]", `"x"`, "1", "true", "{'a':1}", `{"a":1,}`, `{"a" 1}`, `{"source_bundle_id":1e999}`, `{"source_bundle_id":0x1}`, "\x00", "{}\x00", "\xff\xfe",
		deep("[", "]", 9999), deep("[", "]", 100000), deep(`{"a":`, "}", 9999), deep("[", "", 500000), `{"rows":` + deep("[", "]", 9990) + `}`,
		push(1, good, thing(`"deep"`, `"data":`+deep("[", "]", 9000))), push(1, good, thing(`"deep"`, `"raw":`+deep(`{"a":`, "1}", 1)+``)),
		push(1, good, thing(`"long"`, `"n":1`+strings.Repeat("0", 500000))), push(1, good, thing(`"long"`, `"amount":1e`+strings.Repeat("9", 1000))),
		push(1, good, thing(`"columns"`, strings.TrimSuffix(strings.Repeat(`"c":1,`, 5000), ","))), push(1, good, thing(`"none"`, `"no such column":1`)),
		push(1, good, thing(`"`+strings.Repeat("k", 100000)+`"`, ``)), push(1, good, thing(`"\u0000"`, ``)), push(1, good, thing("\"\xff\"", ``)), push(1, good, good),
		push(1, good, thing(`"parent"`, `"parent":"nobody"`)), push(1, good, thing(`"enum"`, `"kind":"three"`)), push(1, good, thing(`"owner"`, `"owner":"ben"`)),
		push(1, good, strings.Replace(good, `"thing"`, `"push_log"`, 1)), push(1, good, strings.Replace(strings.Replace(good, `"app"`, `"tide"`, 1), `"thing"`, `"setting"`, 1)),
		push(1, good, strings.Replace(good, `"thing"`, `"thing\"; DROP TABLE app.thing; --"`, 1)), push(1, good, strings.Replace(good, "INSERT", "TRUNCATE", 1)),
		push(-1, good), push(0, good), push(2, good), push(1), `{"source_bundle_id":1,"rows":[` + strings.Repeat(`{},`, 20000) + `{}]}`, `{"rows":[],"rows":{},"source_bundle_id":1,"source_bundle_id":"1"}`,
		push(1, good) + strings.Repeat(" ", maxBody), `{"x":"` + strings.Repeat("x", maxBody) + `"}`,
	} {
		for _, o := range routes {
			path := b.path(o, "")
			got := s.do(t, "ann", fmt.Sprintf("phone %d", i), o.Method, path, body)
			got.blames(t, path+" "+body)
			if len(body) > maxBody {
				got.is(t, http.StatusRequestEntityTooLarge, "request_too_large")
			}
			if path == "/sync/push" && got.status < 400 && !strings.Contains(body, `"raw"`) && !strings.Contains(body, `"deep"`) {
				t.Errorf("%.200q was taken: %s", body, got.body)
			}
			if got.status >= 400 {
				if after := s.state(t); after != before {
					t.Fatalf("%.200q was answered %d, and something was changed: %s, %s", body, got.status, before, after)
				}
			}
			before = s.state(t)
		}
	}
	s.do(t, "ann", "the last", http.MethodPost, "/sync/push", push(1, thing(`"the last"`, ``))).is(t, http.StatusOK, "")
}
