package exchangetest

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/pgtide/pgtide/internal/v1client"
)

// A push in one request, sent by many at once and again when others have written: one effect, one answer.
func TestAPushInOneRequestHasOneAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	watching := s.attached(t, "ann")
	me := caller{s: s, token: token(t, "ann"), source: "one request"}
	push := `{"source_bundle_id":1,"rows":[{"schema":"app","table":"doc","key":{"id":"a"},"op":"INSERT","base_row_version":0,"payload":` + doc("ann", "a", "one", 1) + `},` +
		`{"schema":"app","table":"doc","key":{"id":"b"},"op":"INSERT","base_row_version":0,"payload":` + doc("ann", "b", "two", 2) + `}]}`
	first := me.want(t, 200, "", "POST", "/sync/push", push)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if status, again := me.send(t, "POST", "/sync/push", push); status != 200 || again != first {
				t.Errorf("again: %d %s", status, again)
			}
		})
	}
	group.Wait()
	must(t, watching.Sync(t.Context()), watching.Update("doc", doc("ann", "a", "one", 9)), watching.Delete("doc", "b"), watching.Sync(t.Context()))
	if late := me.want(t, 200, "", "POST", "/sync/push", push); late != first {
		t.Errorf("late: %s", late)
	}
	must(t, watching.Sync(t.Context()))
	s.same(t, "ann", watching)
	if watching.LastSeq() != 2 {
		t.Errorf("there are %d bundles", watching.LastSeq())
	}

	var answer struct {
		Rows []struct {
			Schema, Table, Op string
			Key               map[string]string
			Version           int64 `json:"row_version"`
			Payload           json.RawMessage
		}
		Hash string `json:"bundle_hash"`
	}
	must(t, json.Unmarshal([]byte(first), &answer))
	var rows []v1client.Row
	for _, row := range answer.Rows {
		rows = append(rows, v1client.Row{Schema: row.Schema, Table: row.Table, Op: row.Op, Key: row.Key, Version: row.Version, Payload: row.Payload})
	}
	if hash, err := v1client.BundleHash(rows); err != nil || hash != answer.Hash || len(rows) != 2 {
		t.Errorf("%d rows hash to %s, %v: %s", len(rows), hash, err, first)
	}
	// As one request and as a session, a number is taken once.
	me.want(t, 400, "push_chunk_invalid", "POST", "/sync/push", `{"source_bundle_id":2,"rows":[]}`)
	me.want(t, 409, "source_sequence_out_of_order", "POST", "/sync/push", strings.Replace(push, `_id":1`, `_id":3`, 1))
	if body := me.want(t, 200, "", "POST", "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":2}`); field(t, body, "status") != "already_committed" {
		t.Errorf("as a session: %s", body)
	}
}
