package v1client

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const goodConflict = `{"schema":"app","table":"doc","key":{"id":"a"},"op":"INSERT","base_row_version":0,"server_row_version":5,"server_row_deleted":false,"server_row":{"id":"a","n":9}}`

func conflictBody(conflict string) reply {
	return refuse(409, "push_conflict", `,"conflict":`+conflict+`,"conflicts":[`+conflict+`]`)
}

func TestAConflictIsHeldAgainstWhatWasSent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ rule, from, to string }{
		{"conflict/schema", `"app"`, `"other"`},
		{"conflict/table", `"doc"`, `"other"`},
		{"conflict/key", `{"id":"a"}`, `{"id":"z"}`},
		{"conflict/op", `"INSERT"`, `"UPDATE"`},
		{"conflict/base_row_version", `base_row_version":0`, `base_row_version":1`},
		{"conflict/base_row_version", `"base_row_version":0,`, ``},
		{"conflict/server_row_version", `server_row_version":5`, `server_row_version":-5`},
		{"conflict/server_row_version", `"server_row_version":5,`, ``},
		{"conflict/server_row_deleted", `"server_row_deleted":false,`, ``},
		{"conflict/server_row", `,"server_row":{"id":"a","n":9}`, ``},
		{"conflict/server_row", `{"id":"a","n":9}`, `null`},
		{"conflict/server_row", `"server_row_deleted":false`, `"server_row_deleted":true`},
		{"conflict/server_row", `,"n":9`, ``},
	} {
		server := goodServer(t)
		server[StepPushCommit] = conflictBody(strings.Replace(goodConflict, c.from, c.to, 1))
		err := server.device(t, true).Sync(t.Context())
		var violation *Violation
		if !errors.As(err, &violation) || violation.Rule != c.rule {
			t.Errorf("%s for %s: %v", c.to, c.from, err)
		}
	}
	server := goodServer(t)
	server[StepPushCommit] = refuse(409, "push_conflict", `,"conflict":`+goodConflict+`,"conflicts":[]`)
	var violation *Violation
	if err := server.device(t, true).Sync(t.Context()); !errors.As(err, &violation) || violation.Rule != "conflict/conflicts" {
		t.Errorf("without the list: %v", err)
	}
}

func TestAConflictEndsWithTheServersRowOrIsSentAgain(t *testing.T) {
	t.Parallel()
	server := goodServer(t)
	server[StepPushCommit] = conflictBody(goodConflict)
	d := server.device(t, true)
	if _, err := d.Attach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Push(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.Rows("doc")["a"] != `{"id":"a","n":9}` || d.Version("doc", "a") != 5 || d.Pending() != 0 || d.NextBundle() != 1 || len(d.Conflicts()) != 1 {
		t.Errorf("server wins: %v, version %d, %d pending", d.Rows("doc"), d.Version("doc", "a"), d.Pending())
	}

	var sent []string
	d = server.device(t, true)
	d.config.ClientWins = true
	d.config.Client = &http.Client{Transport: &Faults{Choose: func(step Step, n int) Fault {
		if step == StepPushCommit && n == 1 {
			return LoseRequest
		}
		return None
	}}}
	if _, err := d.Attach(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lost *LostError
	if err := d.Push(t.Context()); !errors.As(err, &lost) {
		t.Fatal(err)
	}
	for _, exchange := range d.config.Client.Transport.(*Faults).Log() {
		if exchange.Step == StepPushChunk {
			sent = append(sent, string(exchange.Body))
		}
	}
	if len(sent) != 2 || !strings.Contains(sent[1], `"base_row_version":5`) || !strings.Contains(sent[1], `"op":"UPDATE"`) || !strings.Contains(sent[1], `"n":1`) {
		t.Errorf("client wins: sent %v", sent)
	}
}

func TestARefusedRowIsHeldAgainstWhatWasSent(t *testing.T) {
	t.Parallel()
	const good = `{"row_ordinal":0,"schema":"app","table":"doc","key":{"id":"a"},"op":"INSERT","sqlstate":"23505","constraint":"doc_n_key"}`
	for _, c := range []struct{ rule, from, to string }{
		{"rejected/row_ordinal", `row_ordinal":0`, `row_ordinal":1`},
		{"rejected/row_ordinal", `INSERT`, `UPDATE`},
		{"rejected/key", `"a"`, `"z"`},
		{"rejected/sqlstate", `23505`, ``},
		{"rejected/rejected", good, ``},
	} {
		server := goodServer(t)
		server[StepPushCommit] = refuse(422, "push_rejected", `,"rejected":[`+strings.Replace(good, c.from, c.to, 1)+`]`)
		err := server.device(t, true).Sync(t.Context())
		var violation *Violation
		if !errors.As(err, &violation) || violation.Rule != c.rule {
			t.Errorf("%s for %s: %v", c.to, c.from, err)
		}
	}
	server := goodServer(t)
	server[StepPushCommit] = refuse(422, "push_rejected", `,"rejected":[`+good+`]`)
	d := server.device(t, true)
	var rejected *RejectedError
	if err := d.Sync(t.Context()); !errors.As(err, &rejected) || rejected.Rows[0].Constraint != "doc_n_key" {
		t.Fatal(err)
	}
	if d.Pending() != 1 || d.NextBundle() != 1 {
		t.Errorf("%d pending, next %d", d.Pending(), d.NextBundle())
	}
	if err := d.Discard("doc", "a"); err != nil {
		t.Fatal(err)
	}
	if len(d.Rows("doc")) != 0 || d.Pending() != 0 {
		t.Errorf("after discarding: %v", d.Rows("doc"))
	}
}

func TestWhatWasCommittedBeforeMustBeWhatWasSent(t *testing.T) {
	t.Parallel()
	hash := func(t *testing.T, row Row) string {
		t.Helper()
		h, err := BundleHash([]Row{row})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, c := range []struct {
		payload string
		same    bool
	}{
		{`{"id":"a","n":1}`, true}, {`{"n":1.0,"id":"a"}`, true}, {`{"id":"a","n":2}`, false}, {`{"id":"a","n":"1"}`, false},
	} {
		server := goodServer(t)
		row := mine
		row.Payload = []byte(c.payload)
		meta := `"bundle_seq":1,"source_id":"me","source_bundle_id":1,"row_count":1,"bundle_hash":"` + hash(t, row) + `"`
		server[StepPushCreate] = reply{status: 200, body: `{"status":"already_committed","bundle_id":3,` + meta + "}\n"}
		server[StepRows] = reply{status: 200, body: fmt.Sprintf(`{%s,"rows":[{"schema":"app","table":"doc","key":{"id":"a"},"op":"INSERT","row_version":1,"payload":%s}],"next_row_ordinal":0,"has_more":false}`, meta, c.payload) + "\n"}
		d := server.device(t, true)
		err := d.Sync(t.Context())
		var violation *Violation
		if c.same && err != nil || !c.same && (!errors.As(err, &violation) || violation.Rule != "already_committed/rows") {
			t.Errorf("%s: %v", c.payload, err)
		}
	}
	if !sameValue(`"2026-01-02T03:04:05Z"`, `"2026-01-02T04:04:05+01:00"`) || sameValue(`"2026-01-02T03:04:05Z"`, `"2026-01-02T03:04:05+01:00"`) {
		t.Error("times are not compared by their instant")
	}
}

func TestARetryableAnswerIsTriedAgain(t *testing.T) {
	t.Parallel()
	tries := 0
	good := goodServer(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if StepOf(r) == StepPull {
			if tries++; tries < 3 {
				canned{StepPull: refuse(503, "service_unavailable", "")}.ServeHTTP(w, r)
				return
			}
		}
		good.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	d := good.device(t, true)
	d.config.URL = server.URL
	if err := d.Sync(t.Context()); err != nil || tries != 3 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

func TestEditsAreNettedPerKey(t *testing.T) {
	t.Parallel()
	d := goodServer(t).device(t, false)
	d.set("doc", "old", 3, `{"id":"old","n":0}`)
	d.set("doc", "gone", 3, `{"id":"gone","n":0}`)
	for _, err := range []error{
		d.Insert("doc", `{"id":"x","n":1}`), d.Delete("doc", "x"),
		d.Delete("doc", "old"), d.Insert("doc", `{"id":"old","n":7}`),
		d.Insert("doc", `{"id":"y","n":1}`), d.Update("doc", `{"id":"y","n":2}`),
		d.Update("doc", `{"id":"gone","n":1}`), d.Delete("doc", "gone"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range d.pending.list() {
		got = append(got, fmt.Sprintf("%s %s %d %s", e.op, e.key, e.base, e.payload))
	}
	want := []string{`UPDATE old 3 {"id":"old","n":7}`, `INSERT y 0 {"id":"y","n":2}`, `DELETE gone 3 `}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := d.Insert("doc", `{"id":"y","n":1}`); err == nil {
		t.Error("a row was inserted twice")
	}
}
