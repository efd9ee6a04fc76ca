package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// metric is a line of /metrics, as the operator gets it.
func (f *front) metrics(t *testing.T) string {
	t.Helper()
	got := f.device("", "").askAll(t, http.MethodGet, "/metrics", nil, http.Header{"Authorization": {"Bearer let me see"}})
	if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	return got.body
}

// Every kind of thing that happened is counted under the name of its route, and no user is named.
func TestMetrics(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{OperatorToken: "let me see"})
	d := f.device("u1", "phone").connect(t)
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"one"`), task("INSERT", taskB, 0, `"title":"two"`))
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"one"`), task("INSERT", taskB, 0, `"title":"two"`))
	d.get(t, "/sync/pull").is(t, http.StatusOK, "")
	d.get(t, "/sync/snapshot")
	d.post(t, "/sync/snapshot-sessions", "{}").is(t, http.StatusOK, "")
	d.get(t, "/sync/pull?after_bundle_seq=9").is(t, http.StatusConflict, "history_pruned")
	d.get(t, "/nowhere/u1").is(t, http.StatusNotFound, "not_found")
	f.exec(t, `INSERT INTO app.note VALUES (1, 'u1')`)
	var head int64
	if err := f.db.QueryRow(t.Context(), `SELECT tide.head()`).Scan(&head); err != nil {
		t.Fatal(err)
	}
	page := f.metrics(t)
	for _, want := range []string{
		`pgtide_request_duration_seconds_count{route="POST /sync/push",status="200"} 2`,
		`pgtide_request_duration_seconds_count{route="GET /sync/pull",status="409"} 1`,
		`pgtide_request_duration_seconds_count{route="none",status="404"} 1`,
		`pgtide_rows_total{direction="pushed",route="POST /sync/push"} 2`,
		`pgtide_rows_total{direction="sent",route="POST /sync/push"} 4`,
		`pgtide_rows_total{direction="sent",route="GET /sync/pull"} 2`,
		`pgtide_refusals_total{code="history_pruned",route="GET /sync/pull"} 1`,
		`pgtide_received_bytes_total{route="POST /sync/connect"} 32`,
		`pgtide_sent_bytes_total{route="GET /sync/snapshot"} `,
		`pgtide_seal_duration_seconds_count{result="ok",task="seal"} `,
		`pgtide_requests_in_flight 1`, `pgtide_large_answers 0`, `pgtide_watches 0`, `pgtide_seconds_since_seal `,
		`pgtide_pool_connections{state="max"} 40`, `pgtide_pool_acquires_total{result="waited"} `, `pgtide_pool_wait_seconds_total `,
		`pgtide_database_up 1`, `pgtide_head_bundle_id ` + strconv.FormatInt(head, 10), `pgtide_unsealed_changes 1`, `pgtide_version_info{version="`, `go_goroutines `,
	} {
		if !strings.Contains(page, "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
	for route, stages := range map[string][]string{
		"POST /sync/push": {"receive", "apply", "seal", "read", "send"}, "GET /sync/pull": {"read", "send"},
		"GET /sync/snapshot": {"wait", "seal", "read", "send"}, "POST /sync/snapshot-sessions": {"wait", "seal", "build", "send"},
	} {
		for _, stage := range stages {
			if !strings.Contains(page, `pgtide_stage_duration_seconds_count{route="`+route+`",stage="`+stage+`"}`) {
				t.Errorf("%s has no stage %s", route, stage)
			}
		}
	}
	if strings.Contains(page, "\npgtide_seconds_since_seal 9.2") {
		t.Error("it says that nothing was ever sealed")
	}
	if strings.Contains(page, "u1") || strings.Contains(page, "phone") {
		t.Error("the metrics name a user or a source")
	}
	f.server.pool.Close()
	if page := f.metrics(t); !strings.Contains(page, "\npgtide_database_up 0") || strings.Contains(page, "\npgtide_head_bundle_id") {
		t.Error("the database that is away is up")
	}
	f.device("", "").get(t, "/metrics").is(t, http.StatusUnauthorized, "authentication_failed")
}

// The times of stages add up to no more than the request took.
func TestStagesDoNotOverlap(t *testing.T) {
	t.Parallel()
	c := &call{r: (&http.Request{}).WithContext(context.Background())}
	began := time.Now()
	leaveRead := c.enterStage(readStage)
	leaveSend := c.enterStage(sendStage)
	time.Sleep(20 * time.Millisecond)
	leaveSend()
	leaveSeal := c.enterStage(sealStage)
	time.Sleep(10 * time.Millisecond)
	leaveSeal()
	leaveRead()
	took := time.Since(began)
	if sum := c.spent[readStage] + c.spent[sendStage] + c.spent[sealStage]; sum > took || c.spent[sendStage] < 20*time.Millisecond || c.spent[readStage] > took-30*time.Millisecond {
		t.Errorf("%v in %v", c.spent, took)
	}
}

// A trace goes from the client through the stages to the bundle.
func TestTraces(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	var log pgtest.Output
	f := newFront(t, Config{TracerProvider: provider, Logger: jsonLog(&log)})
	d := f.device("u1", "phone").connect(t)
	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent := http.Header{"Traceparent": {"00-" + traceID + "-00f067aa0ba902b7-01"}}
	d.askAll(t, http.MethodPost, "/sync/push", []byte(pushOf(1, task("INSERT", taskA, 0, `"title":"one"`))), parent).is(t, http.StatusOK, "")
	names := map[string]sdktrace.ReadOnlySpan{}
	for _, span := range recorder.Ended() {
		if span.SpanContext().TraceID().String() == traceID {
			names[span.Name()] = span
		}
	}
	request := names["POST /sync/push"]
	if request == nil || request.Parent().SpanID().String() != "00f067aa0ba902b7" || request.Status().Code != codes.Unset {
		t.Fatalf("the request is %v", request)
	}
	for _, stage := range []string{"receive", "apply", "seal", "read"} {
		if span := names[stage]; span == nil || span.Parent().SpanID() != request.SpanContext().SpanID() {
			t.Errorf("stage %s is %v", stage, span)
		}
	}
	if !strings.Contains(log.String(), `"trace_id":"`+traceID+`"`) {
		t.Error("the log does not know the trace")
	}
	kept := f.traceOf(t, "phone")
	if want := "00-" + traceID + "-" + names["apply"].SpanContext().SpanID().String() + "-01"; kept != want {
		t.Errorf("the bundle has %q, not %s", kept, want)
	}
	// A trace that is none is no reason to refuse anything.
	d.askAll(t, http.MethodPost, "/sync/push", []byte(pushOf(2, task("INSERT", taskB, 0, `"title":"two"`))), http.Header{"Traceparent": {"00-zz"}}).is(t, http.StatusOK, "")
}

// Without a program that records traces, what the client sent is kept all the same, and the server's
// own code can name its trace too.
func TestTraceparentIsKept(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("u1", "phone").connect(t)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	d.askAll(t, http.MethodPost, "/sync/push", []byte(pushOf(1, task("INSERT", taskA, 0, `"title":"one"`))), http.Header{"Traceparent": {parent}}).is(t, http.StatusOK, "")
	if kept := f.traceOf(t, "phone"); kept != parent {
		t.Errorf("the bundle has %q", kept)
	}
	d.push(t, 2, task("INSERT", taskB, 0, `"title":"two"`))
	for source, said := range map[string]string{"job": parent, "rogue": parent + "'; DROP TABLE app.task"} {
		err := pgx.BeginFunc(t.Context(), f.db, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `SELECT set_config('tide.traceparent', $1, true), tide.set_origin($2, 1)`, said, source)
			if err == nil {
				_, err = tx.Exec(t.Context(), `UPDATE app.task SET rank = coalesce(rank, 0) + 1`)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	f.exec(t, `SELECT tide.seal()`)
	if kept := f.traceOf(t, "job"); kept != parent {
		t.Errorf("the job's bundle has %q", kept)
	}
	if kept := f.traceOf(t, "rogue"); kept != "" {
		t.Errorf("what is no trace is kept: %q", kept)
	}
	var without int
	if err := f.db.QueryRow(t.Context(), `SELECT count(*) FROM tide.bundles WHERE source_bundle_id = 2 AND traceparent IS NULL`).Scan(&without); err != nil || without != 1 {
		t.Errorf("%d pushes without a trace (%v)", without, err)
	}
}

// traceOf is what the first bundle of a source keeps.
func (f *front) traceOf(t *testing.T, source string) (kept string) {
	t.Helper()
	err := f.db.QueryRow(t.Context(), `SELECT coalesce(traceparent, '') FROM tide.bundles WHERE source_id = $1 ORDER BY bundle_id LIMIT 1`, source).Scan(&kept)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// Readiness asks the database and ends with the server; being alive does neither.
func TestHealthzAndReadyz(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	nobody := f.device("", "")
	nobody.get(t, "/healthz").golden(t, "healthz").is(t, http.StatusOK, "")
	nobody.get(t, "/readyz").is(t, http.StatusOK, "")
	ending := newFront(t, Config{})
	ending.server.Drain()
	ending.device("", "").get(t, "/healthz").is(t, http.StatusOK, "")
	if got := ending.device("", "").get(t, "/readyz"); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("draining: %d %s", got.status, got.body)
	}
	f.server.pool.Close()
	time.Sleep(healthAge) // what was asked before is as old as it may be
	if got := nobody.get(t, "/readyz"); got.status != http.StatusServiceUnavailable {
		t.Errorf("without a database: %d %s", got.status, got.body)
	}
	nobody.get(t, "/healthz").is(t, http.StatusOK, "")
}
