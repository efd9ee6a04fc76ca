package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// One device through every route, held against golden bodies.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{AppName: "shop", OperatorToken: "operator"})
	d := f.device("u1", "phone")
	d.post(t, "/sync/connect", `{"has_local_pending_rows":true}`).is(t, 200, "").golden(t, "connect_initialize_local")
	f.device("u1", "tablet").post(t, "/sync/connect", `{"has_local_pending_rows":true}`).is(t, 200, "").golden(t, "connect_retry_later")
	d.post(t, "/sync/connect", `{}`).is(t, 200, "").golden(t, "connect_initialize_empty")
	d.post(t, "/sync/connect", `{"has_local_pending_rows":true,"unknown":[1]}`).is(t, 200, "").golden(t, "connect_remote_authoritative")
	d.get(t, "/sync/capabilities").is(t, 200, "").golden(t, "capabilities")
	schema := d.get(t, "/sync/schema").is(t, 200, "").golden(t, "schema")
	if again := d.with(t, http.MethodGet, "/sync/schema", "", "If-None-Match", schema.header.Get("ETag")); again.status != http.StatusNotModified || again.body != "" || again.header.Get("ETag") != schema.header.Get("ETag") {
		t.Errorf("asked again: %d %s", again.status, again.body)
	}
	d.get(t, "/sync/pull").is(t, 200, "").golden(t, "pull_empty")
	d.get(t, "/sync/pull?after_bundle_seq=&max_bundles=").is(t, 200, "").golden(t, "pull_empty")

	created := d.post(t, "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":3}`).is(t, 200, "").golden(t, "push_session_staging")
	session := "/sync/push-sessions/" + created.field(t, "push_id")
	first := chunkOf(0, task("INSERT", taskA, 0, `"title":"<a> & \"b\" \u00e9","rank":9007199254740993`), note("insert", 1, 0, `"body":"x"`))
	d.post(t, session+"/chunks", first).is(t, 200, "").golden(t, "push_chunk")
	d.post(t, session+"/chunks", first).is(t, 200, "").golden(t, "push_chunk")
	d.post(t, session+"/chunks", chunkOf(2, task("INSERT", taskB, 0, `"title":"second"`))).is(t, 200, "")
	d.post(t, session+"/commit", "").is(t, 200, "").golden(t, "push_commit")
	d.post(t, session+"/commit", "").is(t, 200, "").golden(t, "push_commit")
	d.post(t, "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":3}`).is(t, 200, "").golden(t, "push_session_already_committed")

	d.get(t, "/sync/committed-bundles/1/rows").is(t, 200, "").golden(t, "bundle_rows")
	d.get(t, "/sync/committed-bundles/1/rows?after_row_ordinal=0&max_rows=1").is(t, 200, "").golden(t, "bundle_rows_middle")
	d.get(t, "/sync/committed-bundles/1/rows?after_row_ordinal=1&max_rows=999999999").is(t, 200, "").golden(t, "bundle_rows_last")
	d.get(t, "/sync/committed-bundles/1/rows?after_row_ordinal=9223372036854775807").is(t, 200, "")

	d.push(t, 2, task("UPDATE", taskA, 1, `"done":true`), task("DELETE", taskB, 1, "")).golden(t, "push")
	d.push(t, 2, task("UPDATE", taskA, 1, `"done":true`), task("DELETE", taskB, 1, "")).golden(t, "push")
	d.get(t, "/sync/pull").is(t, 200, "").golden(t, "pull")
	d.get(t, "/sync/pull?after_bundle_seq=1").is(t, 200, "").golden(t, "pull_after")
	d.get(t, "/sync/pull?max_bundles=1").is(t, 200, "").golden(t, "pull_has_more")
	d.get(t, "/sync/pull?target_bundle_seq=1").is(t, 200, "").golden(t, "pull_target")
	d.get(t, "/sync/pull?target_bundle_seq=1000&after_bundle_seq=2").is(t, 200, "").golden(t, "pull_at_head")

	snapshot := d.post(t, "/sync/snapshot-sessions", "").is(t, 200, "").golden(t, "snapshot_session")
	path := "/sync/snapshot-sessions/" + snapshot.field(t, "snapshot_id")
	d.get(t, path).is(t, 200, "").golden(t, "snapshot_chunk")
	d.get(t, path+"?after_row_ordinal=1&max_rows=1").is(t, 200, "").golden(t, "snapshot_chunk_last")
	d.get(t, path+"?after_row_ordinal=9223372036854775807").is(t, 200, "")
	d.do(t, http.MethodDelete, path, "").is(t, 204, "")
	d.get(t, "/sync/snapshot").golden(t, "snapshot_stream")

	d.post(t, "/sync/verify", "{}").is(t, 200, "").golden(t, "verify")
	d.post(t, "/sync/verify", `{"schema":"app","table":"task"}`).is(t, 200, "").golden(t, "verify_rows")
	d.post(t, "/sync/verify", `{"buckets":["user:u1"]}`).is(t, 200, "").golden(t, "verify_buckets")

	unused := d.session(t, 3, 1)
	d.do(t, http.MethodDelete, unused, "").is(t, 204, "")

	replaced := d.post(t, "/sync/snapshot-sessions", `{"source_replacement":{"previous_source_id":"phone","new_source_id":"phone-2","reason":"history_pruned"}}`).is(t, 200, "")
	d.post(t, "/sync/snapshot-sessions", `{"source_replacement":{"previous_source_id":"phone","new_source_id":"phone-2","reason":"history_pruned"}}`).is(t, 200, "")
	if replaced.field(t, "snapshot_bundle_seq") != "2" {
		t.Errorf("replacement: %s", replaced.body)
	}
	d.post(t, "/sync/push", pushOf(3, task("DELETE", taskA, 2, ""))).is(t, 409, "source_retired").golden(t, "source_retired")

	f.device("", "").get(t, "/syncx/health").is(t, 200, "").golden(t, "health")
}

// A push is told apart by what it holds: these are its refusals.
func TestRefusedPushes(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("u1", "phone").connect(t)
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"first"`), note("INSERT", 1, 0, `"body":"taken"`))
	d.push(t, 2, task("UPDATE", taskA, 1, `"title":"second"`))
	d.post(t, "/sync/push", pushOf(3, task("UPDATE", taskA, 1, `"title":"stale"`), note("DELETE", 99, 1, ""))).is(t, 409, "push_conflict").golden(t, "push_conflict")
	f.exec(t, `UPDATE app.task SET title = 'psql'`)
	unsealed := d.post(t, "/sync/push", pushOf(3, task("UPDATE", taskA, 2, `"title":"stale"`))).is(t, 409, "push_conflict")
	if got := unsealed.field(t, "conflict", "server_row_version"); got != "3" {
		t.Errorf("a conflict with a change that was not sealed has version %s: %s", got, unsealed.body)
	}
	d.post(t, "/sync/push", pushOf(3, task("INSERT", taskB, 0, `"title":"bad"`), note("INSERT", 2, 0, `"body":"taken"`), note("INSERT", 3, 0, `"nosuch":1`))).
		is(t, 422, "push_rejected")
	d.post(t, "/sync/push", pushOf(3, task("INSERT", taskB, 0, `"title":"bad"`), note("INSERT", 2, 0, `"body":"taken"`))).is(t, 422, "push_rejected").golden(t, "push_rejected")
	session := d.session(t, 3, 1)
	d.post(t, session+"/chunks", chunkOf(0, task("INSERT", taskB, 0, `"title":"bad"`))).is(t, 200, "")
	d.post(t, session+"/commit", "").is(t, 422, "push_rejected")
	d.post(t, session+"/commit", "").is(t, 422, "push_rejected")
	d.push(t, 3, task("INSERT", taskB, 0, `"title":"good"`))
}

// Each error of each route, by what provokes it.
func TestErrors(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{MaxBodyBytes: 4096})
	d := f.device("u1", "phone").connect(t)
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"a"`))
	other := f.device("u2", "phone").connect(t)
	sibling := f.device("u1", "tablet").connect(t)
	fresh := f.device("u3", "phone")
	open := d.session(t, 2, 1)
	sibling.push(t, 1, note("INSERT", 5, 0, `"body":"tablet"`))
	snapshot := "/sync/snapshot-sessions/" + d.post(t, "/sync/snapshot-sessions", "{}").is(t, 200, "").field(t, "snapshot_id")
	const nowhere = "00000000-0000-4000-8000-000000000000"
	long := `{"x":"` + strings.Repeat("x", 5000) + `"}`
	replace := func(previous, next, reason string) string {
		return fmt.Sprintf(`{"source_replacement":{"previous_source_id":%q,"new_source_id":%q,"reason":%q}}`, previous, next, reason)
	}
	type request struct {
		who                phone
		method, path, body string
		status             int
		code               string
	}
	for _, r := range []request{
		{f.device("", "phone"), "GET", "/sync/pull", "", 401, "authentication_failed"},
		{f.device("u1", ""), "GET", "/sync/pull", "", 400, "invalid_request"},
		{f.device("u1", "  "), "GET", "/sync/capabilities", "", 400, "invalid_request"},
		{d, "GET", "/syncx/status", "", 401, "authentication_failed"},
		{d, "GET", "/", "", 404, "not_found"},
		{d, "GET", "/sync/pull/", "", 404, "not_found"},
		{d, "PUT", "/sync/push-sessions/" + nowhere, "", 405, "method_not_allowed"},
		{d, "HEAD", "/sync/pull", "", 405, ""},

		{d, "POST", "/sync/connect", "", 400, "invalid_request"},
		{d, "POST", "/sync/connect", "{", 400, "invalid_request"},
		{d, "POST", "/sync/connect", "[]", 400, "invalid_request"},
		{d, "POST", "/sync/connect", `{} {}`, 400, "invalid_request"},
		{d, "POST", "/sync/connect", `null`, 400, "connect_invalid"},
		{d, "POST", "/sync/connect", `{"has_local_pending_rows":"yes"}`, 400, "invalid_request"},
		{d, "POST", "/sync/connect", long, 413, "request_too_large"},

		{d, "POST", "/sync/push-sessions", `{"source_bundle_id":1.5,"planned_row_count":1}`, 400, "invalid_request"},
		{d, "POST", "/sync/push-sessions", `{"source_bundle_id":0,"planned_row_count":1}`, 400, "push_session_invalid"},
		{d, "POST", "/sync/push-sessions", `{"source_bundle_id":2}`, 400, "push_session_invalid"},
		{d, "POST", "/sync/push-sessions", `{"source_bundle_id":9,"planned_row_count":1}`, 409, "source_sequence_out_of_order"},
		{d, "POST", "/sync/push-sessions", `{"source_bundle_id":2,"planned_row_count":1,"initialization_id":"` + nowhere + `"}`, 409, "initialization_stale"},
		{d, "POST", "/sync/push-sessions", `{"source_bundle_id":2,"planned_row_count":1,"initialization_id":"nonsense"}`, 409, "initialization_stale"},
		{d, "POST", "/sync/push-sessions", `{"source_bundle_id":2,"planned_row_count":9000000000}`, 413, "bundle_limit_exceeded"},
		{fresh, "POST", "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":1}`, 409, "scope_uninitialized"},
		{fresh, "POST", "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":1,"initialization_id":"` + nowhere + `"}`, 410, "initialization_expired"},

		{d, "POST", open + "/chunks", `{"rows":1}`, 400, "push_chunk_invalid"},
		{d, "POST", open + "/chunks", `{}`, 400, "push_chunk_invalid"},
		{d, "POST", open + "/chunks", `{"rows":null}`, 400, "push_chunk_invalid"},
		{d, "POST", open + "/chunks", `{"rows":[]}`, 400, "push_chunk_invalid"},
		{d, "POST", open + "/chunks", `{"start_row_ordinal":-1,"rows":[{}]}`, 400, "push_chunk_invalid"},
		{d, "POST", open + "/chunks", `{"start_row_ordinal":"0"}`, 400, "invalid_request"},
		{d, "POST", open + "/chunks", chunkOf(0, task("INSERT", taskA, 0, `"title":"\u0000"`)), 400, "invalid_request"},
		{d, "POST", open + "/chunks", chunkOf(3, task("DELETE", taskA, 1, "")), 409, "push_chunk_out_of_order"},
		{d, "POST", open + "/chunks", long, 413, "request_too_large"},
		{d, "POST", "/sync/push-sessions/nonsense/chunks", chunkOf(0, task("DELETE", taskA, 1, "")), 404, "push_session_not_found"},
		{d, "POST", "/sync/push-sessions/" + nowhere + "/chunks", chunkOf(0, task("DELETE", taskA, 1, "")), 404, "push_session_not_found"},
		{other, "POST", open + "/chunks", chunkOf(0, task("DELETE", taskA, 1, "")), 403, "push_session_forbidden"},
		{sibling, "POST", open + "/chunks", chunkOf(0, task("DELETE", taskA, 1, "")), 403, "push_session_forbidden"},
		{other, "POST", open + "/commit", "", 403, "push_session_forbidden"},
		{d, "POST", "/sync/push-sessions/" + nowhere + "/commit", "", 404, "push_session_not_found"},
		{d, "POST", "/sync/push-sessions/x/commit", "", 404, "push_session_not_found"},
		{other, "DELETE", open, "", 403, "push_session_forbidden"},
		{d, "DELETE", "/sync/push-sessions/x", "", 404, "push_session_not_found"},

		{d, "POST", "/sync/push", `{"source_bundle_id":2}`, 400, "push_chunk_invalid"},
		{d, "POST", "/sync/push", pushOf(0, task("DELETE", taskA, 1, "")), 400, "push_session_invalid"},
		{d, "POST", "/sync/push", pushOf(7, task("DELETE", taskA, 1, "")), 409, "source_sequence_out_of_order"},
		{d, "POST", "/sync/push", pushOf(2, task("DELETE", "nonsense", 1, "")), 400, "push_chunk_invalid"},

		{d, "GET", "/sync/committed-bundles/0/rows", "", 400, "committed_bundle_chunk_invalid"},
		{d, "GET", "/sync/committed-bundles/x/rows", "", 400, "committed_bundle_chunk_invalid"},
		{d, "GET", "/sync/committed-bundles/1/rows?max_rows=0", "", 400, "committed_bundle_chunk_invalid"},
		{d, "GET", "/sync/committed-bundles/1/rows?after_row_ordinal=-2", "", 400, "committed_bundle_chunk_invalid"},
		{d, "GET", "/sync/committed-bundles/1/rows?after_row_ordinal=%zz", "", 400, "committed_bundle_chunk_invalid"},
		{d, "GET", "/sync/committed-bundles/99/rows", "", 404, "committed_bundle_not_found"},
		{other, "GET", "/sync/committed-bundles/1/rows", "", 404, "committed_bundle_not_found"},
		{fresh, "GET", "/sync/committed-bundles/1/rows", "", 409, "scope_uninitialized"},

		{d, "GET", "/sync/pull?after_bundle_seq=-1", "", 400, "invalid_request"},
		{d, "GET", "/sync/pull?after_bundle_seq=1e3", "", 400, "invalid_request"},
		{d, "GET", "/sync/pull?max_bundles=0", "", 400, "invalid_request"},
		{d, "GET", "/sync/pull?max_bundles=5001", "", 400, "invalid_request"},
		{d, "GET", "/sync/pull?target_bundle_seq=x", "", 400, "invalid_request"},
		{d, "GET", "/sync/pull?after_bundle_seq=99", "", 409, "history_pruned"},
		{fresh, "GET", "/sync/pull", "", 409, "scope_uninitialized"},

		{d, "POST", "/sync/snapshot-sessions", `{"unknown":1}`, 400, "snapshot_session_invalid"},
		{d, "POST", "/sync/snapshot-sessions", `{`, 400, "snapshot_session_invalid"},
		{d, "POST", "/sync/snapshot-sessions", replace("another", "new", "history_pruned"), 400, "snapshot_session_invalid"},
		{d, "POST", "/sync/snapshot-sessions", replace("phone", "new", "boredom"), 400, "snapshot_session_invalid"},
		{d, "POST", "/sync/snapshot-sessions", replace("phone", "", "history_pruned"), 400, "snapshot_session_invalid"},
		{d, "POST", "/sync/snapshot-sessions", replace("phone", "tablet", "history_pruned"), 409, "source_replacement_invalid"},
		{d, "POST", "/sync/snapshot-sessions", `{"source_replacement":{"previous_source_id":"phone","new_source_id":"\u0000","reason":"history_pruned"}}`, 400, "invalid_request"},
		{fresh, "POST", "/sync/snapshot-sessions", "", 409, "scope_uninitialized"},
		{fresh, "GET", "/sync/snapshot", "", 409, "scope_uninitialized"},
		{d, "GET", "/sync/snapshot-sessions/x", "", 404, "snapshot_session_not_found"},
		{d, "GET", "/sync/snapshot-sessions/" + nowhere, "", 404, "snapshot_session_not_found"},
		{d, "GET", snapshot + "?max_rows=0", "", 400, "snapshot_chunk_invalid"},
		{d, "GET", snapshot + "?after_row_ordinal=-1", "", 400, "snapshot_chunk_invalid"},
		{other, "GET", snapshot, "", 403, "snapshot_session_forbidden"},
		{other, "DELETE", snapshot, "", 403, "snapshot_session_forbidden"},
		{d, "DELETE", "/sync/snapshot-sessions/x", "", 404, "snapshot_session_not_found"},
	} {
		got := r.who.do(t, r.method, r.path, r.body)
		if r.method == "HEAD" {
			if got.status != r.status {
				t.Errorf("HEAD: %d", got.status)
			}
			continue
		}
		var body struct {
			Error, Message string
			RequestID      string `json:"request_id"`
			Retryable      *bool
		}
		if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.status != r.status || body.Error != r.code {
			t.Errorf("%s %s %s as %s: got %d %s, want %d %s", r.method, r.path, r.body, r.who.user, got.status, got.body, r.status, r.code)
			continue
		}
		if r.code != "" && (body.Message == "" || body.RequestID != "test" || body.Retryable == nil || *body.Retryable || !strings.HasSuffix(got.body, "}\n") || got.header.Get("X-Request-Id") != "test") {
			t.Errorf("%s %s: an error without its fields: %s", r.method, r.path, got.body)
		}
	}
}

// What expired, was pruned, replaced or begun by somebody else.
func TestErrorsOfState(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("u1", "phone")
	lease := d.post(t, "/sync/connect", `{"has_local_pending_rows":true}`).field(t, "initialization_id")
	d.get(t, "/sync/pull").is(t, 409, "scope_initializing")
	create := func(id string) string {
		return `{"source_bundle_id":1,"planned_row_count":1,"initialization_id":"` + id + `"}`
	}
	d.post(t, "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":1}`).is(t, 400, "push_session_invalid")
	d.post(t, "/sync/push-sessions", create("nonsense")).is(t, 409, "initialization_stale")
	f.device("u1", "tablet").post(t, "/sync/push-sessions", create(lease)).is(t, 409, "initialization_stale")
	session := "/sync/push-sessions/" + d.post(t, "/sync/push-sessions", create(lease)).is(t, 200, "").field(t, "push_id")
	f.exec(t, `UPDATE tide.scope_lease SET expires_at = now() - interval '1 second'`)
	d.post(t, session+"/chunks", chunkOf(0, task("INSERT", taskA, 0, `"title":"a"`))).is(t, 410, "initialization_expired")
	d.post(t, "/sync/connect", `{}`).is(t, 200, "")
	d.post(t, session+"/chunks", chunkOf(0, task("INSERT", taskA, 0, `"title":"a"`)))

	session = d.session(t, 1, 2)
	d.post(t, session+"/chunks", chunkOf(0, task("INSERT", taskA, 0, `"title":"a"`))).is(t, 200, "")
	d.post(t, session+"/commit", "").is(t, 400, "push_commit_invalid")
	d.post(t, session+"/chunks", chunkOf(1, task("INSERT", taskA, 0, `"title":"a"`))).is(t, 200, "")
	d.post(t, session+"/commit", "").is(t, 400, "push_commit_invalid")
	f.exec(t, `UPDATE tide.push_session SET expires_at = now() - interval '1 second'`)
	for _, path := range []string{"/chunks", "/commit"} {
		d.post(t, session+path, chunkOf(1, task("INSERT", taskA, 0, `"title":"a"`))).is(t, 410, "push_session_expired")
	}
	d.do(t, http.MethodDelete, session, "").is(t, 410, "push_session_expired")

	snapshot := "/sync/snapshot-sessions/" + d.post(t, "/sync/snapshot-sessions", "").is(t, 200, "").field(t, "snapshot_id")
	f.exec(t, `UPDATE tide.snapshot_session SET expires_at = now() - interval '1 second'`)
	d.get(t, snapshot).is(t, 410, "snapshot_session_expired")
	f.exec(t, `UPDATE tide.setting SET max_rows_per_snapshot = 1, max_snapshot_sessions = 2, max_push_sessions = 2, push_session_ttl = '1 hour'`)
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"a"`), task("INSERT", taskB, 0, `"title":"b"`))
	d.post(t, "/sync/snapshot-sessions", "").is(t, 413, "snapshot_session_limit_exceeded")
	f.exec(t, `UPDATE tide.setting SET max_rows_per_snapshot = 10`)
	var sessions []string // where there is room, the last two of a device are kept: the answer to one was lost, perhaps
	for i, open := range [][]int{{0}, {0, 1}, {1, 2}, {2, 3}} {
		d := f.device("u1", []string{"phone", "phone", "phone", "tablet"}[i])
		sessions = append(sessions, "/sync/snapshot-sessions/"+d.post(t, "/sync/snapshot-sessions", "").is(t, 200, "").field(t, "snapshot_id"))
		for n, session := range sessions {
			if slices.Contains(open, n) {
				d.get(t, session).is(t, 200, "")
			} else {
				d.get(t, session).is(t, 404, "snapshot_session_not_found")
			}
		}
	}
	limited := f.device("u1", "watch").post(t, "/sync/snapshot-sessions", "").is(t, 429, "too_many_sessions").golden(t, "too_many_sessions")
	if limited.header.Get("Retry-After") == "" {
		t.Error("too many sessions, and no Retry-After")
	}
	for _, source := range []string{"a", "b"} {
		f.device("u1", source).connect(t).session(t, 1, 1)
	}
	f.device("u1", "c").connect(t).post(t, "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":1}`).is(t, 429, "too_many_sessions")

	f.exec(t, `INSERT INTO tide.bucket_floor (bucket_id, floor_seq, floor_bundle_id, seal_id, reason) SELECT 'user:u1', 1, tide.head(), max(seal_id), 'pruned' FROM tide.seal_log`)
	d.get(t, "/sync/pull?after_bundle_seq=0").is(t, 409, "history_pruned").golden(t, "history_pruned")
	d.get(t, "/sync/pull?after_bundle_seq=1").is(t, 200, "")
	f.device("u1", "tablet").get(t, "/sync/committed-bundles/1/rows").is(t, 409, "history_pruned")
	// Who pushed it gets the answer that he may have missed.
	d.get(t, "/sync/committed-bundles/1/rows").is(t, 200, "")
}

// The runtime answers what passes with 503, and itself stays alive.
func TestPassingTrouble(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{LockTimeout: 50 * time.Millisecond})
	d := f.device("u1", "phone").connect(t)
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"a"`))
	tx, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM app.task FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	d.post(t, "/sync/push", pushOf(2, task("UPDATE", taskA, 1, `"title":"b"`))).is(t, 503, "service_unavailable").golden(t, "service_unavailable")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.push(t, 2, task("UPDATE", taskA, 1, `"title":"b"`))

	draining := New(f.server.pool, f.server.config)
	draining.Drain()
	web := httptest.NewServer(asHeaderSays(draining))
	defer web.Close()
	end := &front{t: t, db: f.db, url: web.URL, client: web.Client()}
	end.device("u1", "phone").get(t, "/sync/pull").is(t, 503, "service_unavailable")
	end.device("", "").get(t, "/syncx/health").is(t, 503, "").golden(t, "health_draining")

	f.server.pool.Close()
	for _, r := range f.server.routes {
		if r.caller == device {
			path := strings.NewReplacer("{id}", taskA, "{seq}", "1").Replace(r.path)
			got := d.do(t, r.method, path, `{"source_bundle_id":1,"planned_row_count":1,"rows":[{}]}`)
			if r.path == "/sync/snapshot-sessions" {
				got = d.do(t, r.method, path, "")
			}
			got.is(t, 503, "service_unavailable")
			if got.header.Get("Retry-After") == "" || got.field(t, "retryable") != "true" {
				t.Errorf("%s: %v %s", r.path, got.header, got.body)
			}
		}
	}
}

// A fault of the server says nothing of the database to clients.
func TestFaults(t *testing.T) {
	t.Parallel()
	var log pgtest.Output
	f := newFront(t, Config{Logger: jsonLog(&log), OperatorToken: "operator"})
	d := f.device("u1", "phone").connect(t)
	f.exec(t, `DROP SCHEMA tide CASCADE`)
	for _, r := range f.server.routes {
		path := strings.NewReplacer("{id}", taskA, "{seq}", "1").Replace(r.path)
		body := `{"source_bundle_id":1,"planned_row_count":1,"rows":[{}]}`
		if r.path == "/sync/snapshot-sessions" {
			body = ""
		}
		if r.caller != device {
			continue
		}
		got := d.do(t, r.method, path, body).is(t, 500, string(r.failed))
		if strings.Contains(got.body, "tide.") || strings.Contains(got.body, "SELECT") {
			t.Errorf("%s tells of the database: %s", r.path, got.body)
		}
	}
	if !strings.Contains(log.String(), `"level":"ERROR"`) || !strings.Contains(log.String(), "tide") {
		t.Errorf("the log does not say what failed:\n%s", log.String())
	}
}
