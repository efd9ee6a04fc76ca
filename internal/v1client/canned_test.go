package v1client

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// canned answers every step with what a good server would say to the device of these tests: one row
// pushed as its first bundle, one bundle of somebody else to pull, one row in the snapshot.
type canned map[Step]reply

type reply struct {
	status int
	body   string
	header map[string]string
}

const (
	pushID     = "11111111-2222-4333-8444-555555555555"
	snapshotID = "66666666-7777-4888-9999-aaaaaaaaaaaa"
)

var mine = Row{Schema: "app", Table: "doc", Key: map[string]string{"id": "a"}, Op: Insert, Version: 1, Payload: []byte(`{"id":"a","n":1}`)}

func goodServer(t *testing.T) canned {
	t.Helper()
	hash, err := BundleHash([]Row{mine})
	if err != nil {
		t.Fatal(err)
	}
	ok := func(format string, args ...any) reply {
		return reply{status: 200, body: fmt.Sprintf(format, args...) + "\n"}
	}
	meta := `"bundle_seq":1,"source_id":"me","source_bundle_id":1,"row_count":1,"bundle_hash":"` + hash + `"`
	return canned{
		StepCapabilities: ok(`{"protocol_version":"v1","registered_tables":["app.doc"],"registered_table_specs":[{"schema":"app","table":"doc","sync_key_columns":["id"]}],"features":{"connect_lifecycle":true}}`),
		StepConnect:      ok(`{"resolution":"initialize_local","initialization_id":%q,"lease_expires_at":"2030-01-02T03:04:05.5Z"}`, pushID),
		StepPushCreate:   ok(`{"push_id":%q,"status":"staging","planned_row_count":1}`, pushID),
		StepPushChunk:    ok(`{"push_id":%q,"next_expected_row_ordinal":1}`, pushID),
		StepPushCommit:   ok(`{%s,"bundle_id":77}`, meta),
		StepPushDelete:   {status: 204},
		StepRows:         ok(`{%s,"rows":[{"schema":"app","table":"doc","key":{"id":"a"},"op":"INSERT","row_version":1,"payload":{"id":"a","n":1}}],"next_row_ordinal":0,"has_more":false}`, meta),
		StepPull: ok(`{"stable_bundle_seq":2,"bundles":[{"bundle_seq":2,"source_id":"server","source_bundle_id":9,"row_count":2,"rows":[` +
			`{"schema":"app","table":"doc","key":{"id":"b"},"op":"INSERT","row_version":2,"payload":{"id":"b","n":9007199254740993}},` +
			`{"schema":"app","table":"doc","key":{"id":"a"},"op":"DELETE","row_version":2}]}],"has_more":false}`),
		StepSnapshotCreate: ok(`{"snapshot_id":%q,"snapshot_bundle_seq":4,"row_count":1,"byte_count":16,"expires_at":"2030-01-02T03:04:05Z"}`, snapshotID),
		StepSnapshotChunk: ok(`{"snapshot_id":%q,"snapshot_bundle_seq":4,"rows":[{"schema":"app","table":"doc","key":{"id":"c"},"row_version":4,"payload":{"id":"c","n":3}}],"next_row_ordinal":1,"has_more":false}`,
			snapshotID),
		StepSnapshotDelete: {status: 204},
	}
}

func (c canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := c[StepOf(r)]
	w.Header().Set("Content-Type", "application/json")
	for name, value := range answer.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.status)
	if _, err := w.Write([]byte(answer.body)); err != nil && answer.body != "" {
		panic(err)
	}
}

// edit replaces a piece of a good answer.
func (c canned) edit(t *testing.T, step Step, from, to string) {
	t.Helper()
	answer := c[step]
	if !strings.Contains(answer.body, from) {
		t.Fatalf("the answer to %s has no %q: %s", step, from, answer.body)
	}
	answer.body = strings.Replace(answer.body, from, to, 1)
	c[step] = answer
}

func (c canned) device(t *testing.T, pending bool) *Device {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	d, err := New(Config{URL: server.URL, Token: "t", SourceID: "me", Schema: "app", MaxRetryWait: 1, Retries: 2,
		Tables: []Table{{Name: "doc", Key: []string{"id"}, Columns: []string{"id", "n"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if pending {
		if err := d.Insert("doc", `{"id":"a","n":1}`); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func refuse(status int, code, more string) reply {
	return reply{status: status, body: fmt.Sprintf(`{"error":%q,"message":"no","retryable":%t,"request_id":"r"%s}`, code, retryStatus(status), more) + "\n",
		header: map[string]string{"Retry-After": "1"}}
}
