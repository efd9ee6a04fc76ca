package server

import (
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Codes that no request here brings about, and why.
var unprovoked = map[string]string{
	"health_failed": "health says what is wrong with 503, or answers; the code is for a fault of the program",
}

// Every code that docs/errors.md lists is brought about once, has the status of the page, and a body
// that stays as it is.
func TestEveryCode(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	provoked := map[string]answer{}
	for _, answers := range []map[string]answer{codesOfRequests(t), codesOfState(t), codesOfWatching(t), codesOfCursors(t), codesOfLimits(t), codesOfFaults(t)} {
		for code, got := range answers {
			provoked[code] = got
		}
	}
	listed := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]+) \\|").FindAllStringSubmatch(string(page), -1)
	for _, row := range listed {
		code, why := row[1], unprovoked[row[1]]
		got, was := provoked[code]
		delete(provoked, code)
		if was == (why != "") {
			t.Errorf("%s: brought about: %t; said to be impossible: %q", code, was, why)
			continue
		}
		if !was {
			continue
		}
		status, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		got.is(t, status, code).golden(t, "errors/"+code)
		passes := (status == 429 || status == 503) && code != "bundle_change_watch_disabled"
		if retry := got.header.Get("Retry-After") != ""; retry != passes || got.field(t, "retryable") != strconv.FormatBool(passes) {
			t.Errorf("%s: Retry-After %q, retryable %s", code, got.header.Get("Retry-After"), got.field(t, "retryable"))
		}
	}
	if len(listed) == 0 || len(provoked) > 0 {
		t.Errorf("%d codes are listed; not among them are %v", len(listed), provoked)
	}
}

const nowhere = "00000000-0000-4000-8000-000000000000"

// codesOfRequests are what is wrong with a request.
func codesOfRequests(t *testing.T) map[string]answer {
	t.Helper()
	f := newFront(t, Config{MaxBodyBytes: 4096})
	d, other, fresh := f.device("u1", "phone").connect(t), f.device("u2", "phone").connect(t), f.device("u3", "phone")
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"a"`))
	open := d.session(t, 2, 2)
	d.post(t, open+"/chunks", chunkOf(0, task("DELETE", taskA, 1, ""))).is(t, 200, "")
	snapshot := "/sync/snapshot-sessions/" + d.post(t, "/sync/snapshot-sessions", "").is(t, 200, "").field(t, "snapshot_id")
	f.device("u1", "tablet").connect(t)
	f.hook(t, "before_push_commit", `RAISE EXCEPTION 'the shop is closed'`)
	refused := d.post(t, "/sync/push", pushOf(2, task("UPDATE", taskA, 1, `"title":"b"`)))
	f.exec(t, `SELECT tide.set_hook('before_push_commit', NULL)`)
	return map[string]answer{
		"push_refused":                   refused,
		"authentication_failed":          f.device("", "phone").get(t, "/sync/pull"),
		"invalid_request":                d.get(t, "/sync/pull?max_bundles=0"),
		"request_too_large":              d.post(t, "/sync/connect", `{"x":"`+strings.Repeat("x", 5000)+`"}`),
		"not_found":                      d.get(t, "/sync/nothing"),
		"method_not_allowed":             d.do(t, http.MethodPut, "/sync/pull", ""),
		"unsupported_encoding":           d.with(t, http.MethodPost, "/sync/connect", "{}", "Content-Encoding", "br", "X-Request-Id", "test"),
		"connect_invalid":                d.post(t, "/sync/connect", "null"),
		"scope_uninitialized":            fresh.get(t, "/sync/pull"),
		"initialization_expired":         fresh.post(t, "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":1,"initialization_id":"`+nowhere+`"}`),
		"push_session_invalid":           d.post(t, "/sync/push-sessions", `{"source_bundle_id":0,"planned_row_count":1}`),
		"bundle_limit_exceeded":          d.post(t, "/sync/push-sessions", `{"source_bundle_id":2,"planned_row_count":9000000000}`),
		"source_sequence_out_of_order":   d.post(t, "/sync/push-sessions", `{"source_bundle_id":9,"planned_row_count":1}`),
		"push_session_not_found":         d.post(t, "/sync/push-sessions/"+nowhere+"/commit", ""),
		"push_session_forbidden":         other.post(t, open+"/commit", ""),
		"push_chunk_invalid":             d.post(t, open+"/chunks", chunkOf(1, `{"schema":"app","table":"nothing"}`)),
		"push_chunk_out_of_order":        d.post(t, open+"/chunks", chunkOf(7, task("DELETE", taskA, 1, ""))),
		"push_commit_invalid":            d.post(t, open+"/commit", ""),
		"push_conflict":                  d.post(t, "/sync/push", pushOf(2, task("UPDATE", taskA, 0, `"title":"b"`))),
		"push_rejected":                  d.post(t, "/sync/push", pushOf(2, task("UPDATE", taskA, 1, `"title":"bad"`))),
		"history_pruned":                 d.get(t, "/sync/pull?after_bundle_seq=99"),
		"committed_bundle_not_found":     d.get(t, "/sync/committed-bundles/99/rows"),
		"committed_bundle_chunk_invalid": d.get(t, "/sync/committed-bundles/0/rows"),
		"snapshot_session_invalid":       d.post(t, "/sync/snapshot-sessions", `{"unknown":1}`),
		"snapshot_session_not_found":     d.get(t, "/sync/snapshot-sessions/"+nowhere),
		"snapshot_session_forbidden":     other.get(t, snapshot),
		"snapshot_chunk_invalid":         d.get(t, snapshot+"?max_rows=0"),
		"verify_invalid":                 d.post(t, "/sync/verify", `{"schema":"app","table":"nothing"}`),
		"source_replacement_invalid":     d.post(t, "/sync/snapshot-sessions", replacing("phone", "tablet")),
	}
}

// codesOfState are what has happened meanwhile.
func codesOfState(t *testing.T) map[string]answer {
	t.Helper()
	f := newFront(t, Config{})
	answers := map[string]answer{}
	seeding := f.device("u1", "phone")
	seeding.post(t, "/sync/connect", `{"has_local_pending_rows":true}`).is(t, 200, "")
	answers["scope_initializing"] = seeding.get(t, "/sync/pull")
	answers["initialization_stale"] = seeding.post(t, "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":1,"initialization_id":"`+nowhere+`"}`)

	late := f.device("u2", "phone").connect(t)
	session := late.session(t, 1, 1)
	snapshot := "/sync/snapshot-sessions/" + late.post(t, "/sync/snapshot-sessions", "").is(t, 200, "").field(t, "snapshot_id")
	f.exec(t, `UPDATE tide.push_session SET expires_at = now() - interval '1 second'`, `UPDATE tide.snapshot_session SET expires_at = now() - interval '1 second'`)
	answers["push_session_expired"] = late.post(t, session+"/commit", "")
	answers["snapshot_session_expired"] = late.get(t, snapshot)

	// The database lost a push in a crash, and the device goes on counting.
	lost := f.device("u3", "phone").connect(t)
	lost.push(t, 1, note("INSERT", 1, 0, `"body":"a"`), note("INSERT", 2, 0, `"body":"b"`))
	session = lost.session(t, 2, 1)
	lost.post(t, session+"/chunks", chunkOf(0, note("DELETE", 1, 1, ""))).is(t, 200, "")
	f.exec(t, `DELETE FROM tide.push_log`)
	answers["source_sequence_changed"] = lost.post(t, session+"/commit", "")
	f.exec(t, `UPDATE tide.setting SET max_snapshot_sessions = 1`)
	lost.post(t, "/sync/snapshot-sessions", replacing("phone", "another")).is(t, 200, "")
	answers["source_retired"] = lost.post(t, "/sync/push", pushOf(1, note("DELETE", 1, 1, "")))

	answers["too_many_sessions"] = f.device("u3", "tablet").post(t, "/sync/snapshot-sessions", "")
	f.exec(t, `UPDATE tide.setting SET max_snapshot_sessions = 5, max_rows_per_snapshot = 1`)
	answers["snapshot_session_limit_exceeded"] = f.device("u3", "tablet").post(t, "/sync/snapshot-sessions", "")
	f.exec(t, `SELECT tide.pause()`)
	answers["service_unavailable"] = f.device("u3", "tablet").post(t, "/sync/push", pushOf(1, note("DELETE", 1, 1, "")))
	return answers
}

func codesOfWatching(t *testing.T) map[string]answer {
	t.Helper()
	f := newRunningFront(t, Config{MaxWatchesPerUser: 1})
	d := f.device("u1", "phone").connect(t)
	d.watch(t, "")
	return map[string]answer{
		"too_many_streams":             d.get(t, "/sync/watch"),
		"bundle_change_watch_disabled": newFront(t, Config{NoWatch: true}).device("u1", "phone").connect(t).get(t, "/sync/watch"),
	}
}

func codesOfCursors(t *testing.T) map[string]answer {
	t.Helper()
	f := newFront(t, Config{})
	d := f.device("u1", "phone")
	begun := d.post(t, "/sync/connect", `{"has_local_pending_rows":false,"buckets":true}`).is(t, 200, "").field(t, "cursor")
	answers := map[string]answer{
		"cursor_invalid":   d.get(t, "/sync/pull?cursor=x"),
		"bucket_forbidden": d.post(t, "/sync/snapshot-sessions", `{"cursor":"`+begun+`","buckets":["user:u2"]}`),
	}
	fetched := d.post(t, "/sync/snapshot-sessions", `{"cursor":"`+begun+`"}`).is(t, 200, "").field(t, "cursor")
	f.exec(t, `DELETE FROM tide.source_buckets`)
	answers["bucket_list_needed"] = d.get(t, "/sync/pull?cursor="+fetched)
	var elsewhere string
	if err := f.db.QueryRow(t.Context(), `SELECT tide.write_cursor(0, 1, gen_random_uuid(), substr(sha256(''), 1, 16))`).Scan(&elsewhere); err != nil {
		t.Fatal(err)
	}
	answers["history_changed"] = d.get(t, "/sync/pull?cursor="+elsewhere)
	return answers
}

func codesOfLimits(t *testing.T) map[string]answer {
	t.Helper()
	f := newFront(t, Config{})
	d := f.device("u1", "phone").connect(t)
	f.exec(t, `UPDATE tide.setting SET min_app_version = '2.10'`)
	f.settled()
	answers := map[string]answer{"client_too_old": d.with(t, http.MethodGet, "/sync/pull", "", "Tide-App-Version", "2.9", "X-Request-Id", "test")}
	f.exec(t, `SELECT tide.set_maintenance('We move to a larger machine.', '90 seconds')`)
	f.settled()
	answers["maintenance"] = d.get(t, "/sync/pull")

	few := newFrontOf(t, Config{QueueTimeout: 2 * time.Second}, 2)
	d = few.device("u1", "phone").connect(t)
	for range 2 {
		conn, err := few.server.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
	answers["server_busy"] = d.get(t, "/sync/snapshot")

	d = newFront(t, Config{RequestsPerUser: 1}).device("u1", "phone")
	got := d.get(t, "/sync/capabilities")
	for range 1000 {
		if got.status != http.StatusOK {
			break
		}
		got = d.get(t, "/sync/capabilities")
	}
	answers["too_many_requests"] = got
	return answers
}

// codesOfFaults are those of a database from which pgtide is gone.
func codesOfFaults(t *testing.T) map[string]answer {
	t.Helper()
	f := newFront(t, Config{OperatorToken: "operator"})
	d := f.device("u1", "phone").connect(t)
	f.exec(t, `DROP SCHEMA tide CASCADE`)
	answers := map[string]answer{"status_failed": d.with(t, http.MethodGet, "/syncx/status", "", "Authorization", "Bearer operator", "X-Request-Id", "test")}
	for _, r := range f.server.routes {
		if r.caller == device {
			body := ""
			if r.method == http.MethodPost && r.path != "/sync/snapshot-sessions" {
				body = `{"source_bundle_id":1,"planned_row_count":1,"rows":[{}]}`
			}
			answers[string(r.failed)] = d.do(t, r.method, strings.NewReplacer("{id}", taskA, "{seq}", "1").Replace(r.path), body)
		}
	}
	return answers
}

func replacing(previous, next string) string {
	return `{"source_replacement":{"previous_source_id":"` + previous + `","new_source_id":"` + next + `","reason":"history_pruned"}}`
}
