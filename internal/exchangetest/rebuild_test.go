package exchangetest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/contract"
	"github.com/pgtide/pgtide/internal/v1client"
)

// What a device missed is no longer in the log: its pull is refused, and a snapshot brings it in step.
func TestADeviceBelowTheFloorRebuilds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.attached(t, "ann", clientWins)
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)), d.Insert("doc", doc("ann", "b", "two", 1)), d.Sync(t.Context()))
	other := s.attached(t, "ann")
	must(t, other.Update("doc", doc("ann", "b", "two", 2)), other.Delete("doc", "a"), other.Insert("doc", doc("ann", "c", "three", 1)), other.Sync(t.Context()))
	s.raiseFloor(t, "ann")

	var refusal *v1client.APIError
	if err := d.Pull(t.Context()); !errors.As(err, &refusal) || refusal.Code != "history_pruned" {
		t.Fatalf("below the floor: %v", err)
	}
	must(t, d.Sync(t.Context()))
	s.same(t, "ann", d)
	if d.SourceID() == "" || d.NextBundle() != 2 {
		t.Errorf("the source began anew: next %d", d.NextBundle())
	}
	must(t, d.Update("doc", doc("ann", "b", "two", 3)), d.Sync(t.Context()), other.Sync(t.Context()))
	s.same(t, "ann", d)
	s.same(t, "ann", other)
}

// Its edits are judged upon the snapshot: what was changed beneath them is a conflict it is told of.
func TestEditsOutliveARebuildBelowTheFloor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.attached(t, "ann")
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)), d.Insert("doc", doc("ann", "b", "two", 1)), d.Sync(t.Context()))
	must(t, d.Update("doc", doc("ann", "a", "one", 10)), d.Update("doc", doc("ann", "b", "two", 10)), d.Insert("doc", doc("ann", "new", "new", 1)))
	other := s.attached(t, "ann")
	must(t, other.Update("doc", doc("ann", "b", "two", 2)), other.Sync(t.Context()))
	s.raiseFloor(t, "ann")
	must(t, d.Sync(t.Context()), other.Sync(t.Context()))
	s.same(t, "ann", d)
	s.same(t, "ann", other)
	got := value[string](t, s, `SELECT string_agg(id || n, ' ' ORDER BY id) FROM app.doc`)
	if got != "a10 b2 new1" || len(d.Conflicts()) != 1 || d.Conflicts()[0].Key != "b" {
		t.Errorf("the table has %s, the device was told of %+v", got, d.Conflicts())
	}
}

// raiseFloor makes the log forget all that the home bucket has had so far.
func (s *site) raiseFloor(t *testing.T, user string) {
	t.Helper()
	s.exec(t, `SELECT tide.seal()`,
		`UPDATE tide.bucket_floor SET floor_seq = (SELECT head_seq FROM tide.bucket_position('user:`+user+`')), seal_id = (SELECT max(seal_id) FROM tide.seal_log) WHERE bucket_id = 'user:`+user+`'`)
}

// A device was copied: both twins count on under one name. The second one notices, and goes on under
// another name; then the first one is told.
func TestASourceThatWasCopiedIsReplaced(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.attached(t, "ann")
	for i := range 3 {
		must(t, d.Insert("doc", doc("ann", fmt.Sprint(i), fmt.Sprint(i), i)), d.Sync(t.Context()))
	}
	twin := s.device(t, "ann", func(config *v1client.Config) { config.SourceID = d.SourceID() })
	attach(t, twin, "remote_authoritative")
	must(t, twin.Update("doc", doc("ann", "0", "0", 50)))
	var violation *v1client.Violation
	if err := twin.Push(t.Context()); !errors.As(err, &violation) || violation.Rule != "already_committed/rows" {
		t.Fatalf("number 1 again with other rows: %v", err)
	}
	was := twin.SourceID()
	must(t, twin.Rebuild(t.Context(), "source_sequence_changed"))
	if twin.SourceID() == was || twin.NextBundle() != 1 {
		t.Errorf("still %s, next %d", twin.SourceID(), twin.NextBundle())
	}
	must(t, twin.Sync(t.Context()))
	s.same(t, "ann", twin)
	if value[int](t, s, `SELECT n FROM app.doc WHERE id = '0'`) != 50 {
		t.Error("the edit was lost")
	}
	must(t, d.Update("doc", doc("ann", "1", "1", 60)))
	var refusal *v1client.APIError
	if err := d.Push(t.Context()); !errors.As(err, &refusal) || refusal.Code != "source_retired" || refusal.ReplacedBy != twin.SourceID() {
		t.Fatalf("as the retired source: %v", err)
	}
}

// The answer to a replacement is lost at every step; the same replacement again is done already.
func TestAReplacementIsRepeated(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, step := range v1client.RebuildSteps {
		for _, fault := range v1client.AllFaults {
			t.Run(fmt.Sprintf("%s %s", fault, step), func(t *testing.T) {
				t.Parallel()
				user := fmt.Sprintf("%s %s", fault, step)
				faults := &v1client.Faults{Choose: v1client.Once(step, 0, fault)}
				d := s.attached(t, user, over(faults))
				must(t, d.Insert("doc", doc(user, user, user, 1)), d.Sync(t.Context()))
				err := d.Rebuild(t.Context(), "history_pruned")
				var lost *v1client.LostError
				if errors.As(err, &lost) {
					err = d.Rebuild(t.Context(), "history_pruned")
				}
				must(t, err)
				faults.Release(t.Context())
				must(t, d.Update("doc", doc(user, user, user, 2)), d.Sync(t.Context()))
				s.same(t, user, d)
				if d.NextBundle() != 2 {
					t.Errorf("next is %d", d.NextBundle())
				}
			})
		}
	}
}

// What a source may not do: skip a number, go on after its end, take a name that was used.
func TestSourcesAreHeldToTheirNumbers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d, other := s.attached(t, "ann"), s.attached(t, "ann")
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)), d.Sync(t.Context()))
	must(t, other.Insert("doc", doc("ann", "b", "two", 1)), other.Sync(t.Context()))
	me := caller{s: s, token: token(t, "ann"), source: d.SourceID()}
	me.want(t, 409, "source_sequence_out_of_order", "POST", "/sync/push-sessions", `{"source_bundle_id":3,"planned_row_count":1}`)
	me.want(t, 200, "", "POST", "/sync/push-sessions", `{"source_bundle_id":2,"planned_row_count":1}`)
	replace := func(previous, next, reason string) string {
		return fmt.Sprintf(`{"source_replacement":{"previous_source_id":%q,"new_source_id":%q,"reason":%q}}`, previous, next, reason)
	}
	const route = "/sync/snapshot-sessions"
	me.want(t, 400, "snapshot_session_invalid", "POST", route, replace("somebody", "new", "history_pruned"))
	me.want(t, 400, "snapshot_session_invalid", "POST", route, replace(d.SourceID(), "new", "boredom"))
	me.want(t, 400, "snapshot_session_invalid", "POST", route, replace(d.SourceID(), d.SourceID(), "history_pruned"))
	me.want(t, 400, "snapshot_session_invalid", "POST", route, `{"unknown":1}`)
	me.want(t, 409, "source_replacement_invalid", "POST", route, replace(d.SourceID(), other.SourceID(), "history_pruned"))
	me.want(t, 200, "", "POST", route, replace(d.SourceID(), "new", "history_pruned"))
	me.want(t, 200, "", "POST", route, replace(d.SourceID(), "new", "history_pruned"))
	body := me.want(t, 409, "source_retired", "POST", route, replace(d.SourceID(), "newer", "history_pruned"))
	if !strings.Contains(body, `"replaced_by_source_id":"new"`) {
		t.Errorf("the replacement is not named: %s", body)
	}
	me.want(t, 409, "source_retired", "POST", "/sync/push-sessions", `{"source_bundle_id":2,"planned_row_count":1}`)
	me.want(t, 409, "source_retired", "POST", "/sync/connect", `{"has_local_pending_rows":false}`)
	// What it committed before, it committed.
	if body := me.want(t, 200, "", "POST", "/sync/push-sessions", `{"source_bundle_id":1,"planned_row_count":1}`); !strings.Contains(body, "already_committed") {
		t.Errorf("its first push again: %s", body)
	}
}

// caller sends single requests as some source of some user.
type caller struct {
	s             *site
	token, source string
}

func (c caller) send(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	faults := &v1client.Faults{Base: contract.Transport(t, nil)}
	header := http.Header{"Authorization": {"Bearer " + c.token}, "Oversync-Source-Id": {c.source}, "Content-Type": {"application/json"}}
	answer := faults.Send(t.Context(), v1client.Exchange{Method: method, URL: c.s.http.URL + path, Header: header, Body: []byte(body)})
	if answer.Err != nil {
		t.Fatal(answer.Err)
	}
	return answer.Status, string(answer.Answer)
}

func (c caller) want(t *testing.T, status int, code, method, path, body string) string {
	t.Helper()
	got, answer := c.send(t, method, path, body)
	if got != status || code != "" && !strings.Contains(answer, `"error":"`+code+`"`) {
		t.Errorf("%s %s %s: %d %swant %d %s", method, path, body, got, answer, status, code)
	}
	return answer
}
