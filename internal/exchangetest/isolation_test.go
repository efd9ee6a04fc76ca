package exchangetest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/v1client"
)

var requestID = regexp.MustCompile(`"request_id":"[^"]*"`)

// strangers are bob, who has rows, open sessions and a device, and ann, who tries everything.
func strangers(t *testing.T, s *site) (bob *v1client.Device, pushID, snapshotID string, ann caller) {
	t.Helper()
	bob = s.attached(t, "bob")
	must(t, bob.Insert("doc", doc("bob", "bob-1", "secret", 1471147111)), bob.Sync(t.Context()))
	must(t, bob.Update("doc", doc("bob", "bob-1", "secret", 1471147112)), bob.Sync(t.Context()))
	his := caller{s: s, token: token(t, "bob"), source: bob.SourceID()}
	pushID = field(t, his.want(t, 200, "", "POST", "/sync/push-sessions", `{"source_bundle_id":3,"planned_row_count":2}`), "push_id")
	his.want(t, 200, "", "POST", "/sync/push-sessions/"+pushID+"/chunks", `{"start_row_ordinal":0,"rows":[{"schema":"app","table":"doc","key":{"id":"bob-2"},"op":"INSERT","base_row_version":0,"payload":`+doc("bob", "bob-2", "secret 2", 1471147113)+`}]}`)
	snapshotID = field(t, his.want(t, 200, "", "POST", "/sync/snapshot-sessions", `{}`), "snapshot_id")
	must(t, s.attached(t, "ann").Pull(t.Context()))
	return bob, pushID, snapshotID, caller{s: s, token: token(t, "ann"), source: "ann's"}
}

func field(t *testing.T, body, name string) string {
	t.Helper()
	found := regexp.MustCompile(`"` + name + `":"([^"]*)"`).FindStringSubmatch(body)
	if found == nil {
		t.Fatalf("no %s in %s", name, body)
	}
	return found[1]
}

// With bob's ids and bob's source, by every route.
func TestForgedSessionIDsOpenNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob, pushID, snapshotID, ann := strangers(t, s)
	chunk := `{"start_row_ordinal":1,"rows":[{"schema":"app","table":"doc","key":{"id":"evil"},"op":"INSERT","base_row_version":0,"payload":` + doc("ann", "evil", "evil", 1) + `}]}`
	for _, source := range []string{"ann's", bob.SourceID()} {
		ann.source = source
		var answers []string
		answers = append(answers,
			ann.want(t, 403, "push_session_forbidden", "POST", "/sync/push-sessions/"+pushID+"/chunks", chunk),
			ann.want(t, 403, "push_session_forbidden", "POST", "/sync/push-sessions/"+pushID+"/commit", ""),
			ann.want(t, 403, "push_session_forbidden", "DELETE", "/sync/push-sessions/"+pushID, ""),
			ann.want(t, 403, "snapshot_session_forbidden", "GET", "/sync/snapshot-sessions/"+snapshotID, ""),
			ann.want(t, 403, "snapshot_session_forbidden", "DELETE", "/sync/snapshot-sessions/"+snapshotID, ""),
			ann.want(t, 404, "committed_bundle_not_found", "GET", "/sync/committed-bundles/1/rows", ""),
			ann.want(t, 200, "", "GET", "/sync/pull", ""),
			ann.want(t, 200, "", "GET", "/sync/capabilities", ""),
			ann.want(t, 200, "", "GET", "/sync/schema", ""),
			ann.want(t, 200, "", "POST", "/sync/verify", `{}`),
			ann.want(t, 200, "", "POST", "/sync/verify", `{"schema":"app","table":"doc","payload":true}`),
			ann.want(t, 403, "bucket_forbidden", "POST", "/sync/verify", `{"buckets":["user:ann","user:bob"]}`),
			ann.want(t, 403, "bucket_forbidden", "POST", "/sync/verify", `{"bucket":"user:bob","schema":"app","table":"doc","payload":true}`),
			ann.want(t, 200, "", "POST", "/sync/snapshot-sessions", ""),
			ann.want(t, 200, "", "GET", "/sync/snapshot", ""),
			ann.want(t, 409, "source_sequence_out_of_order", "POST", "/sync/push-sessions", `{"source_bundle_id":3,"planned_row_count":2}`),
			ann.want(t, 409, "history_pruned", "GET", "/sync/pull?after_bundle_seq=1", ""),
		)
		for _, answer := range answers {
			if strings.Contains(answer, "secret") || strings.Contains(answer, "147114711") || strings.Contains(answer, "bob") && source != bob.SourceID() {
				t.Errorf("ann reads %s", answer)
			}
		}
	}
	// Without, or with a false token.
	for _, false := range []string{"", "x", token(t, "bob") + "x", strings.Replace(token(t, "bob"), ".", "..", 1)} {
		nobody := caller{s: s, token: false, source: bob.SourceID()}
		nobody.want(t, 401, "authentication_failed", "GET", "/sync/pull", "")
		nobody.want(t, 401, "authentication_failed", "POST", "/sync/push-sessions/"+pushID+"/commit", "")
		nobody.want(t, 401, "authentication_failed", "GET", "/sync/snapshot-sessions/"+snapshotID, "")
	}
	// Bob's sessions are as they were.
	his := caller{s: s, token: token(t, "bob"), source: bob.SourceID()}
	his.want(t, 200, "", "GET", "/sync/snapshot-sessions/"+snapshotID, "")
	his.want(t, 200, "", "POST", "/sync/push-sessions/"+pushID+"/chunks", strings.NewReplacer("evil", "bob-3", "ann", "bob").Replace(chunk))
	his.want(t, 200, "", "POST", "/sync/push-sessions/"+pushID+"/commit", "")
	s.same(t, "bob", s.attached(t, "bob"))
	if n := value[int](t, s, `SELECT count(*) FROM app.doc WHERE owner_id = 'bob'`); n != 3 {
		t.Errorf("bob has %d rows", n)
	}
}

// A push on a row of bob is answered like one on a row that is not there.
func TestAPushTellsNothingOfOthersRows(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob, _, _, ann := strangers(t, s)
	before := value[string](t, s, `SELECT string_agg(d::text, ' ' ORDER BY d) FROM app.doc AS d`)
	push := func(rows string) (int, string) {
		status, body := ann.send(t, "POST", "/sync/push", `{"source_bundle_id":1,"rows":[`+rows+`]}`)
		return status, requestID.ReplaceAllString(body, "")
	}
	rows := map[string]func(id string) string{
		"note that refers to it": func(id string) string {
			return `{"schema":"app","table":"note","key":{"id":"` + note1 + `"},"op":"INSERT","base_row_version":0,"payload":{"doc_id":"` + id + `","owner_id":"ann"}}`
		},
	}
	for base := range int64(4) {
		rows[fmt.Sprintf("update upon %d", base)] = func(id string) string {
			return fmt.Sprintf(`{"schema":"app","table":"doc","key":{"id":%q},"op":"UPDATE","base_row_version":%d,"payload":%s}`, id, base, doc("ann", id, "x", 1))
		}
		rows[fmt.Sprintf("update of its owner upon %d", base)] = func(id string) string {
			return fmt.Sprintf(`{"schema":"app","table":"doc","key":{"id":%q},"op":"UPDATE","base_row_version":%d,"payload":%s}`, id, base, doc("bob", id, "x", 1))
		}
		rows[fmt.Sprintf("delete upon %d", base)] = func(id string) string {
			return fmt.Sprintf(`{"schema":"app","table":"doc","key":{"id":%q},"op":"DELETE","base_row_version":%d}`, id, base)
		}
	}
	for name, row := range rows {
		hisStatus, his := push(row("bob-1"))
		noneStatus, none := push(row("non-1"))
		if hisStatus != noneStatus || strings.ReplaceAll(his, "bob-1", "non-1") != none {
			t.Errorf("%s: of bob's row %d %sof no row %d %s", name, hisStatus, his, noneStatus, none)
		}
		if hisStatus == 200 {
			t.Errorf("%s went through", name)
		}
	}
	// A key or a unique value that is taken cannot be had; whose it is and what else the row has is not told.
	for name, row := range map[string]string{
		"key":          doc("ann", "bob-1", "mine", 1),
		"unique value": doc("ann", "ann-1", "secret", 1),
	} {
		id := map[string]string{"key": "bob-1", "unique value": "ann-1"}[name]
		status, body := push(fmt.Sprintf(`{"schema":"app","table":"doc","key":{"id":%q},"op":"INSERT","base_row_version":0,"payload":%s}`, id, row))
		if status != 422 && status != 409 || strings.Contains(body, "1471147112") || strings.Contains(body, `"bob"`) || name == "key" && strings.Contains(body, "secret") {
			t.Errorf("taken %s: %d %s", name, status, body)
		}
	}
	// Nothing can be given away, or taken by naming its owner.
	for _, row := range []string{doc("bob", "ann-2", "gift", 1), `{"id":"ann-2","owner_id":null,"title":"x","n":1}`} {
		if status, body := push(fmt.Sprintf(`{"schema":"app","table":"doc","key":{"id":"ann-2"},"op":"INSERT","base_row_version":0,"payload":%s}`, row)); status != 422 && !strings.Contains(row, "null") {
			t.Errorf("%s: %d %s", row, status, body)
		}
	}
	s.exec(t, `DELETE FROM app.doc WHERE id = 'ann-2'`)
	if after := value[string](t, s, `SELECT string_agg(d::text, ' ' ORDER BY d) FROM app.doc AS d`); after != before {
		t.Errorf("the rows were\n%s\nand are\n%s", before, after)
	}
	must(t, bob.Pull(t.Context()))
	s.same(t, "bob", bob)
}

// A bucket's counts move only with its owner's rows.
func TestOthersWritesMoveNoCount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ann, bob := s.attached(t, "ann"), s.attached(t, "bob")
	must(t, ann.Insert("doc", doc("ann", "a", "a", 1)), ann.Sync(t.Context()))
	at := ann.LastSeq()
	for i := range 5 {
		must(t, bob.Insert("doc", doc("bob", fmt.Sprint(i), fmt.Sprint(i), 1)), bob.Sync(t.Context()))
	}
	must(t, ann.Pull(t.Context()))
	if ann.LastSeq() != at || len(ann.Rows("doc")) != 1 {
		t.Errorf("ann went from %d to %d: %v", at, ann.LastSeq(), ann.Rows("doc"))
	}
	// A row that changes hands leaves one device and reaches the other.
	s.exec(t, `UPDATE app.doc SET owner_id = 'ann' WHERE id = '1'`, `UPDATE app.doc SET owner_id = 'bob' WHERE id = 'a'`, `SELECT tide.seal()`)
	must(t, ann.Pull(t.Context()), bob.Pull(t.Context()))
	s.same(t, "ann", ann)
	s.same(t, "bob", bob)
}
