package workspacetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
)

// keys of the seed.
const (
	handbook   = "c0000000-0000-4000-8000-000000000001" // ben edits it by his team, eve looks at it, ada is an admin
	payroll    = "c0000000-0000-4000-8000-000000000002" // ada's
	chapter    = "d0000000-0000-4000-8000-000000000002" // a folder in a folder of the handbook
	thisYear   = "d0000000-0000-4000-8000-000000000003" // a folder of payroll
	howWeWrite = "e0000000-0000-4000-8000-000000000001" // in that chapter
	salaries   = "e0000000-0000-4000-8000-000000000002" // in payroll, shown to cleo
	diary      = "e0000000-0000-4000-8000-000000000004" // eve's draft
	idea       = "e0000000-0000-4000-8000-000000000005" // ben's draft, eve may edit it
	lovely     = "f0000000-0000-4000-8000-000000000001" // eve's comment on how we write
	fresh      = "00000000-0000-4000-8000-00000000000%d"
)

// Who reads need not write: viewers comment and react in their own name, editors write where they are
// editors, nobody gives a row away or moves it where he may not write.
func TestWhoMayWriteWhat(t *testing.T) {
	t.Parallel()
	db := prepared(t)
	web := cursorserver.Front(db.Pool)
	t.Cleanup(web.Close)
	devices, numbers := map[string]*cursorclient.Device{}, map[string]int{}
	for _, user := range people {
		devices[user] = cursorclient.New(cursorserver.OverHTTP(web, user, "phone", 5, false))
	}
	for _, c := range []struct {
		user, op, table, key, payload string
		code                          string // of the refusal
	}{
		{"ben", "UPDATE", "document", howWeWrite, `{"title":"How we write now"}`, ""},
		{"ada", "UPDATE", "document", howWeWrite, `{"body":"by the admin"}`, ""},
		{"eve", "UPDATE", "document", howWeWrite, `{"title":"mine"}`, "push_rejected"},
		{"eve", "DELETE", "document", howWeWrite, ``, "push_rejected"},
		{"cleo", "UPDATE", "document", salaries, `{"title":"mine"}`, "push_rejected"},
		{"eve", "UPDATE", "document", idea, `{"body":"shared with me as an editor"}`, ""},
		{"eve", "UPDATE", "document", diary, `{"body":"dear diary"}`, ""},
		{"ben", "UPDATE", "document", howWeWrite, `{"author_id":"ada"}`, "push_rejected"},
		{"ben", "UPDATE", "document", howWeWrite, `{"folder_id":"` + thisYear + `"}`, "push_rejected"},
		{"ada", "UPDATE", "document", howWeWrite, `{"folder_id":"` + thisYear + `"}`, ""},
		{"ada", "UPDATE", "document", howWeWrite, `{"folder_id":"` + chapter + `"}`, ""},
		{"eve", "INSERT", "document", fmt.Sprintf(fresh, 1), `{"title":"a draft"}`, ""},
		{"eve", "INSERT", "document", fmt.Sprintf(fresh, 2), `{"title":"in their folder","folder_id":"` + chapter + `"}`, "push_rejected"},
		{"ben", "INSERT", "document", fmt.Sprintf(fresh, 3), `{"title":"in our folder","folder_id":"` + chapter + `"}`, ""},
		{"ben", "INSERT", "document", fmt.Sprintf(fresh, 4), `{"title":"in her name","author_id":"ada"}`, "push_rejected"},
		{"eve", "INSERT", "comment", fmt.Sprintf(fresh, 1), `{"document_id":"` + howWeWrite + `","body":"I only read"}`, ""},
		{"eve", "INSERT", "comment", fmt.Sprintf(fresh, 2), `{"document_id":"` + salaries + `","body":"what I do not read"}`, "push_rejected"},
		{"ben", "UPDATE", "comment", lovely, `{"body":"put into her mouth"}`, "push_rejected"},
		{"ben", "UPDATE", "project", handbook, `{"name":"The handbook"}`, ""},
		{"eve", "UPDATE", "project", handbook, `{"name":"Mine"}`, "push_rejected"},
		{"eve", "UPDATE", "person", "eve", `{"color":"pink"}`, ""},
		// A row that he does not see looks as one that never was.
		{"eve", "UPDATE", "person", "ada", `{"color":"pink"}`, "push_conflict"},
		{"ben", "INSERT", "project_person", handbook + " dov", `{"role":"editor"}`, "push_chunk_invalid"},
	} {
		d := devices[c.user]
		exec(t, db, `SELECT tide.seal()`)
		if err := d.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		key := map[string]string{c.table + "_id": c.key}
		switch c.table {
		case "person":
			key = map[string]string{"user_id": c.key}
		case "project_person":
			project, user, _ := strings.Cut(c.key, " ")
			key = map[string]string{"project_id": project, "user_id": user}
		}
		text, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		row := map[string]any{"schema": "workspace", "table": c.table, "key": key, "op": c.op, "base_row_version": d.Rows["workspace."+c.table+string(text)].Version}
		if c.payload != "" {
			row["payload"] = json.RawMessage(c.payload)
		}
		if _, err = d.Server.(*cursorclient.HTTP).Do(t.Context(), "POST", "/sync/push", map[string]any{"source_bundle_id": numbers[c.user] + 1, "rows": []any{row}}); err == nil {
			numbers[c.user]++
		}
		var refusal *cursorclient.Refusal
		code := ""
		if errors.As(err, &refusal) {
			code = refusal.Code
		} else if err != nil {
			t.Fatal(err)
		}
		if code != c.code {
			t.Errorf("%s: %s of %s %s %s: %q %v, want %q", c.user, c.op, c.table, c.key, c.payload, code, err, c.code)
		}
	}
	var author, name string
	if err := db.QueryRow(t.Context(), `SELECT (SELECT author_id FROM workspace.document WHERE title = 'a draft'), (SELECT author_id FROM workspace.comment WHERE body = 'I only read')`).Scan(&author, &name); err != nil || author != "eve" || name != "eve" {
		t.Errorf("stamped: %q, %q: %v", author, name, err)
	}
}
