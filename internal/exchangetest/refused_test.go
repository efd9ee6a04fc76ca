package exchangetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/v1client"
)

func refused(t *testing.T, err error) *v1client.RejectedError {
	t.Helper()
	var rejected *v1client.RejectedError
	if !errors.As(err, &rejected) {
		t.Fatalf("not refused as rows: %v", err)
	}
	return rejected
}

func TestAPoisonRowAmongAThousandIsNamed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.attached(t, "ann", func(c *v1client.Config) { c.ChunkRows = 300 })
	for i := range 1000 {
		n := i
		if i == 500 {
			n = -1
		}
		must(t, d.Insert("doc", doc("ann", fmt.Sprintf("%04d", i), fmt.Sprint(i), n)))
	}
	rejected := refused(t, d.Push(t.Context()))
	want := v1client.Rejected{Ordinal: 500, Table: "doc", Key: "0500", Op: "INSERT", SQLState: "23514", Constraint: "doc_n_check"}
	if len(rejected.Rows) != 1 {
		t.Fatalf("named are %d rows: %+v", len(rejected.Rows), rejected.Rows)
	}
	got := rejected.Rows[0]
	got.Detail, got.Column = "", ""
	if got != want {
		t.Errorf("named is %+v, want %+v", got, want)
	}
	s.exec(t, `SELECT tide.seal()`)
	if left := value[int](t, s, `SELECT (SELECT count(*) FROM app.doc) + (SELECT count(*) FROM tide.changes) + (SELECT count(*) FROM tide.push_log)`); left != 0 {
		t.Errorf("%d rows, changes and numbers were left behind", left)
	}
	must(t, d.Discard("doc", "0500"), d.Sync(t.Context()))
	s.same(t, "ann", d)
	if len(d.Rows("doc")) != 999 || d.NextBundle() != 2 || d.LastSeq() != 1 {
		t.Errorf("%d rows, next %d, at %d", len(d.Rows("doc")), d.NextBundle(), d.LastSeq())
	}
}

// Each kind of fault, beside a row that is good: the row is named with its SQLSTATE, nothing is left
// behind, and the good row goes through afterwards.
func TestEveryKindOfRefusalNamesTheRow(t *testing.T) {
	t.Parallel()
	s := newSite(t, `INSERT INTO app.doc VALUES ('taken', 'ann', 'taken', 1)`, `SELECT tide.seal()`)
	for name, c := range map[string]struct {
		table, payload, state, constraint string
	}{
		"not null":       {"doc", `{"id":"x","owner_id":"ann","title":"x","n":null}`, "23502", ""},
		"check":          {"doc", `{"id":"x","owner_id":"ann","title":"x","n":-5}`, "23514", "doc_n_check"},
		"unique":         {"doc", `{"id":"x","owner_id":"ann","title":"taken","n":1}`, "23505", "doc_title_key"},
		"type":           {"doc", `{"id":"x","owner_id":"ann","title":"x","n":"many"}`, "22P02", ""},
		"out of range":   {"doc", `{"id":"x","owner_id":"ann","title":"x","n":9223372036854775808}`, "22003", ""},
		"unknown column": {"doc", `{"id":"x","owner_id":"ann","title":"x","n":1,"colour":"red"}`, "42703", ""},
		"foreign key":    {"note", `{"id":"` + note1 + `","doc_id":"nowhere","owner_id":"ann"}`, "23503", "note_doc_id_fkey"},
		"wrong owner":    {"doc", `{"id":"x","owner_id":"bob","title":"x","n":1}`, "42501", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := "good " + name
			d := s.attached(t, "ann")
			must(t, d.Insert("doc", doc("ann", good, good, 1)), d.Insert(c.table, c.payload))
			rejected := refused(t, d.Push(t.Context()))
			if len(rejected.Rows) != 1 || rejected.Rows[0].Ordinal != 1 || rejected.Rows[0].SQLState != c.state || rejected.Rows[0].Constraint != c.constraint {
				t.Errorf("named: %+v", rejected.Rows)
			}
			if name == "unknown column" && !strings.Contains(rejected.Error(), "colour") {
				t.Errorf("the column is not named: %v", rejected)
			}
			if value[int](t, s, `SELECT count(*) FROM app.doc WHERE id = $1 OR id = 'x'`, good) != 0 {
				t.Error("something was left behind")
			}
			for _, row := range rejected.Rows {
				must(t, d.Discard(row.Table, row.Key))
			}
			must(t, d.Sync(t.Context()))
			if value[int](t, s, `SELECT count(*) FROM app.doc WHERE id = $1`, good) != 1 || d.NextBundle() != 2 {
				t.Errorf("the good row did not go through: next %d", d.NextBundle())
			}
		})
	}
}
