package v1client

import (
	"context"
	"errors"
	"testing"
)

func TestAGoodServerIsBelieved(t *testing.T) {
	t.Parallel()
	d := goodServer(t).device(t, true)
	if err := d.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.Rows("doc"); len(got) != 1 || got["b"] != `{"id":"b","n":9007199254740993}` {
		t.Errorf("the device holds %v", got)
	}
	if d.LastSeq() != 2 || d.NextBundle() != 2 || d.Pending() != 0 || d.Version("doc", "a") != 2 || d.InitializationID() != "" {
		t.Errorf("last %d, next %d, pending %d, tombstone %d", d.LastSeq(), d.NextBundle(), d.Pending(), d.Version("doc", "a"))
	}
	if err := d.Rebuild(t.Context(), "history_pruned"); err != nil {
		t.Fatal(err)
	}
	if got := d.Rows("doc"); len(got) != 1 || got["c"] == "" || d.LastSeq() != 4 || d.NextBundle() != 1 || d.SourceID() == "me" {
		t.Errorf("after the rebuild: %v at %d, source %s", got, d.LastSeq(), d.SourceID())
	}
}

func syncs(ctx context.Context, d *Device) error { return d.Sync(ctx) }

func rebuilds(ctx context.Context, d *Device) error { return d.Rebuild(ctx, "") }

const rowA = `{"schema":"app","table":"doc","key":{"id":"a"},"op":"INSERT","row_version":1,"payload":{"id":"a","n":1}}`

// Every rule the protocol gives a client is broken once, and the device says which one.
func TestABrokenRuleIsRefusedByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule     string
		step     Step
		from, to string
		do       func(context.Context, *Device) error
	}{
		{"http/newline", StepConnect, "}\n", "}", syncs},
		{"http/json", StepConnect, "}\n", "\n", syncs},
		{"capabilities/protocol_version", StepCapabilities, `"v1"`, `"v2"`, syncs},
		{"capabilities/features/connect_lifecycle", StepCapabilities, `:true`, `:"yes"`, syncs},
		{"capabilities/registered_tables", StepCapabilities, `["app.doc"]`, `["app.doc","app.a"]`, syncs},
		{"capabilities/registered_tables", StepCapabilities, `["id"]`, `["id","x"]`, syncs},
		{"connect/resolution", StepConnect, `initialize_local`, `whatever`, syncs},
		{"connect/initialization_id", StepConnect, `initialize_local`, `remote_authoritative`, syncs},
		{"connect/initialization_id", StepConnect, `1111-`, `X111-`, syncs},
		{"connect/lease_expires_at", StepConnect, `05.5Z`, `05.50Z`, syncs},
		{"connect/lease_expires_at", StepConnect, `05.5Z`, `05.5+00:00`, syncs},
		{"create/status", StepPushCreate, `staging`, `done`, syncs},
		{"create/push_id", StepPushCreate, pushID, ``, syncs},
		{"create/planned_row_count", StepPushCreate, `count":1`, `count":2`, syncs},
		{"create/planned_row_count", StepPushCreate, `count":1`, `count":1.0`, syncs},
		{"create/next_expected_row_ordinal", StepPushCreate, `"status"`, `"next_expected_row_ordinal":1,"status"`, syncs},
		{"chunk/push_id", StepPushChunk, `1111`, `2222`, syncs},
		{"chunk/next_expected_row_ordinal", StepPushChunk, `ordinal":1`, `ordinal":0`, syncs},
		{"commit/bundle_seq", StepPushCommit, `bundle_seq":1`, `bundle_seq":0`, syncs},
		{"commit/bundle_seq", StepPushCommit, `"bundle_seq":1,`, ``, syncs},
		{"commit/source_id", StepPushCommit, `"me"`, `"you"`, syncs},
		{"commit/source_id", StepPushCommit, `"me"`, `""`, syncs},
		{"commit/source_bundle_id", StepPushCommit, `source_bundle_id":1`, `source_bundle_id":2`, syncs},
		{"commit/row_count", StepPushCommit, `row_count":1`, `row_count":0`, syncs},
		{"commit/bundle_hash", StepPushCommit, `"bundle_hash":"`, `"bundle_hash":"","x":"`, syncs},
		{"commit/bundle_id", StepPushCommit, `"bundle_id":77`, `"x":77`, syncs},
		{"rows/metadata", StepRows, `bundle_seq":1`, `bundle_seq":2`, syncs},
		{"rows/metadata", StepRows, `source_id":"me`, `source_id":"you`, syncs},
		{"rows/metadata", StepRows, `source_bundle_id":1`, `source_bundle_id":2`, syncs},
		{"rows/metadata", StepRows, `row_count":1`, `row_count":2`, syncs},
		{"rows/metadata", StepRows, `bundle_hash":"`, `bundle_hash":"0`, syncs},
		{"rows/next_row_ordinal", StepRows, `next_row_ordinal":0`, `next_row_ordinal":1`, syncs},
		{"rows/has_more", StepRows, rowA + `],"next_row_ordinal":0,"has_more":false`, `],"next_row_ordinal":-1,"has_more":true`, syncs},
		{"rows/next_row_ordinal", StepRows, `false`, `true`, syncs},
		{"rows/row_count", StepRows, rowA + `],"next_row_ordinal":0`, `],"next_row_ordinal":-1`, syncs},
		{"rows/bundle_hash", StepRows, `"n":1`, `"n":2`, syncs},
		{"rows/row/row_version", StepRows, `row_version":1`, `row_version":2`, syncs},
		{"rows/row/schema", StepRows, `"schema":"app"`, `"schema":"other"`, syncs},
		{"rows/row/table", StepRows, `"table":"doc"`, `"table":"other"`, syncs},
		{"rows/row/key", StepRows, `{"id":"a"},`, `{"id":1},`, syncs},
		{"rows/row/key", StepRows, `{"id":"a"},`, `{"id":"a","x":"y"},`, syncs},
		{"rows/row/op", StepRows, `INSERT`, `insert`, syncs},
		{"rows/row/payload", StepRows, `"n":1}`, `"n":1,"more":2}`, syncs},
		{"rows/row/payload", StepRows, `,"n":1}`, `}`, syncs},
		{"rows/row/payload", StepRows, `"payload"`, `"x"`, syncs},
		{"pull/stable_bundle_seq", StepPull, `stable_bundle_seq":2`, `stable_bundle_seq":3`, syncs},
		{"pull/stable_bundle_seq", StepPull, `stable_bundle_seq":2`, `stable_bundle_seq":0`, syncs},
		{"pull/bundles", StepPull, `"bundles":[`, `"bundles":null,"x":[`, syncs},
		{"pull/has_more", StepPull, `has_more":false`, `has_more":true`, syncs},
		{"pull/has_more", StepPull, `,"has_more":false`, ``, syncs},
		{"pull/bundle/bundle_seq", StepPull, `"bundle_seq":2`, `"bundle_seq":0`, syncs},
		{"pull/bundle/source_id", StepPull, `"server"`, `""`, syncs},
		{"pull/bundle/source_bundle_id", StepPull, `source_bundle_id":9`, `source_bundle_id":0`, syncs},
		{"pull/bundle/source_bundle_id", StepPull, `"server"`, `"me"`, syncs},
		{"pull/bundle/row_count", StepPull, `row_count":2`, `row_count":3`, syncs},
		{"pull/bundle/row_version", StepPull, `row_version":2`, `row_version":1`, syncs},
		{"pull/bundle/rows", StepPull, `{"id":"a"},"op":"DELETE"`, `{"id":"b"},"op":"DELETE"`, syncs},
		{"pull/bundle/bundle_hash", StepPull, `"row_count":2`, `"bundle_hash":"00"`, syncs},
		{"pull/row/row_version", StepPull, `row_version":2`, `row_version":0`, syncs},
		{"pull/row/table", StepPull, `"doc"`, `"other"`, syncs},
		{"pull/row/schema", StepPull, `"schema":"app"`, `"schema":""`, syncs},
		{"pull/row/key", StepPull, `{"id":"b"}`, `{}`, syncs},
		{"pull/row/payload", StepPull, `"op":"DELETE"`, `"op":"DELETE","payload":null`, syncs},
		{"pull/row/payload", StepPull, `"payload"`, `"x"`, syncs},
		{"pull/row/payload", StepPull, `{"id":"b","n"`, `{"id":"z","n"`, syncs},
		{"snapshot/snapshot_id", StepSnapshotCreate, snapshotID, ``, rebuilds},
		{"snapshot/expires_at", StepSnapshotCreate, `2030-01-02T03:04:05Z`, ``, rebuilds},
		{"snapshot/snapshot_bundle_seq", StepSnapshotCreate, `seq":4`, `seq":0`, rebuilds},
		{"snapshot/row_count", StepSnapshotCreate, `row_count":1`, `row_count":2`, rebuilds},
		{"snapshot/snapshot_id", StepSnapshotChunk, `6666-`, `0000-`, rebuilds},
		{"snapshot/snapshot_bundle_seq", StepSnapshotChunk, `seq":4`, `seq":5`, rebuilds},
		{"snapshot/next_row_ordinal", StepSnapshotChunk, `ordinal":1`, `ordinal":0`, rebuilds},
		{"snapshot/row/row_version", StepSnapshotChunk, `row_version":4`, `row_version":5`, rebuilds},
		{"snapshot/row/op", StepSnapshotChunk, `"row_version"`, `"op":"INSERT","row_version"`, rebuilds},
		{"snapshot/row/payload", StepSnapshotChunk, `"payload"`, `"x"`, rebuilds},
	} {
		t.Run(c.rule+" in "+string(c.step), func(t *testing.T) {
			t.Parallel()
			server := goodServer(t)
			server.edit(t, c.step, c.from, c.to)
			err := c.do(t.Context(), server.device(t, true))
			var violation *Violation
			if !errors.As(err, &violation) || violation.Rule != c.rule {
				t.Errorf("with %s for %s the device says: %v", c.to, c.from, err)
			}
		})
	}
}

func TestAnAnswerOfAnotherShapeIsRefused(t *testing.T) {
	t.Parallel()
	for rule, c := range map[string]struct {
		step  Step
		reply reply
	}{
		"http/status":       {StepPushCreate, reply{status: 201, body: "{}\n"}},
		"http/content-type": {StepPull, reply{status: 502, body: "<html>", header: map[string]string{"Content-Type": "text/html"}}},
		"error/message":     {StepPull, reply{status: 500, body: `{"error":"pull_failed","retryable":false,"request_id":"r"}` + "\n"}},
		"error/error":       {StepPull, reply{status: 500, body: "{}\n"}},
		"error/retryable":   {StepPull, reply{status: 500, body: `{"error":"pull_failed","message":"x","request_id":"r"}` + "\n"}},
		"error/request_id":  {StepPull, reply{status: 500, body: `{"error":"pull_failed","message":"x","retryable":false}` + "\n"}},
		"error/code":        {StepPull, refuse(500, "unheard_of", "")},
		"error/status":      {StepPull, refuse(400, "history_pruned", "")},
		"error/source_id":   {StepPushCreate, refuse(409, "source_retired", "")},
		"error/retry-after": {StepPull, reply{status: 503, body: refuse(503, "service_unavailable", "").body}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			server := goodServer(t)
			server[c.step] = c.reply
			err := server.device(t, true).Sync(t.Context())
			var violation *Violation
			if !errors.As(err, &violation) || violation.Rule != rule {
				t.Errorf("the device says: %v", err)
			}
		})
	}
}

func TestAServerWithoutTheLifecycleIsNamed(t *testing.T) {
	t.Parallel()
	server := goodServer(t)
	server.edit(t, StepCapabilities, `:true`, `:false`)
	if err := server.device(t, true).Sync(t.Context()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("connect_lifecycle false: %v", err)
	}
	for _, step := range []Step{StepCapabilities, StepConnect} {
		server := goodServer(t)
		server[step] = refuse(404, "not_found", "")
		if err := server.device(t, true).Sync(t.Context()); !errors.Is(err, ErrUnsupported) {
			t.Errorf("404 on %s: %v", step, err)
		}
	}
}

func TestWhatFitsOnlyAnotherSituationIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ rule, body string }{
		{"connect/resolution", `{"resolution":"initialize_local","initialization_id":"` + pushID + `","lease_expires_at":"2030-01-02T03:04:05Z"}`},
		{"connect/retry_after_seconds", `{"resolution":"retry_later","lease_expires_at":"2030-01-02T03:04:05Z","retry_after_seconds":0}`},
		{"connect/retry_after_seconds", `{"resolution":"retry_later","lease_expires_at":"2030-01-02T03:04:05Z"}`},
		{"connect/lease_expires_at", `{"resolution":"initialize_empty","lease_expires_at":"2030-01-02T03:04:05Z"}`},
	} {
		server := goodServer(t)
		server[StepConnect] = reply{status: 200, body: c.body + "\n"}
		_, err := server.device(t, false).Attach(t.Context())
		var violation *Violation
		if !errors.As(err, &violation) || violation.Rule != c.rule {
			t.Errorf("%s: %v", c.body, err)
		}
	}
	server := goodServer(t)
	server[StepConnect] = reply{status: 200, body: `{"resolution":"retry_later","lease_expires_at":"2030-01-02T03:04:05Z","retry_after_seconds":7}` + "\n"}
	var later *RetryLaterError
	if _, err := server.device(t, true).Attach(t.Context()); !errors.As(err, &later) || later.After.Seconds() != 7 {
		t.Errorf("retry_later: %v", err)
	}
}
