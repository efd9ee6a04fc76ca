package workspacetest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
)

// Once what took something from a user is sealed, nothing of it comes out by any route, with whatever
// cursor or session he kept: no row, no payload, no key, no number of rows; nor with SQL as the client.
func TestNothingOfWhatWasRevokedComesOut(t *testing.T) {
	for name, revoke := range map[string]struct{ user, statement string }{
		"a share with one person":       {"eve", `DELETE FROM workspace.project_person WHERE user_id = 'eve'`},
		"membership of a team":          {"ben", `DELETE FROM workspace.team_member WHERE user_id = 'ben'`},
		"a share with a team":           {"ben", `DELETE FROM workspace.project_team WHERE role = 'editor'`},
		"a role":                        {"ada", `UPDATE workspace.member SET role = 'member' WHERE user_id = 'ada'`},
		"the folder, moved away":        {"eve", `UPDATE workspace.folder SET project_id = '` + payroll + `' WHERE project_id = '` + handbook + `'`},
		"the document, moved away":      {"eve", `UPDATE workspace.document SET folder_id = '` + thisYear + `' WHERE folder_id = '` + chapter + `'`},
		"the team itself":               {"ben", `DELETE FROM workspace.team WHERE name = 'Writers'`},
		"the project, made another's":   {"ada", `UPDATE workspace.project SET organisation_id = 'a0000000-0000-4000-8000-000000000002' WHERE project_id = '` + handbook + `'`},
		"by TRUNCATE of all the shares": {"eve", `TRUNCATE workspace.project_person`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := prepared(t)
			exec(t, db, `UPDATE workspace.document SET title = 'TITLE' WHERE document_id = $1`, howWeWrite)
			exec(t, db, `INSERT INTO workspace.document (document_id, folder_id, author_id, title) SELECT gen_random_uuid(), $1, 'dov', 'TITLE ' || g FROM generate_series(1, 12) AS g`, chapter)
			exec(t, db, `SELECT tide.seal()`)
			web := cursorserver.Front(db.Pool)
			t.Cleanup(web.Close)
			server := cursorserver.OverHTTP(web, revoke.user, "phone", 5, false)
			inLines := cursorserver.OverHTTP(web, revoke.user, "phone", 5, true)
			phone, other := cursorclient.New(server), cursorclient.New(cursorserver.OverHTTP(web, "dov", "phone", 5, false))
			for _, d := range []*cursorclient.Device{phone, other} {
				if err := d.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			held := 0
			for _, row := range phone.Rows {
				if strings.Contains(row.Payload, "TITLE") {
					held++
				}
			}
			if held != 13 {
				t.Fatalf("%s holds %d documents before", revoke.user, held)
			}
			before := phone.Cursor
			exec(t, db, `UPDATE workspace.document SET body = 'BODY' WHERE title ~ 'TITLE'`)
			exec(t, db, `SELECT tide.seal()`)
			opened, err := server.Do(t.Context(), "POST", "/sync/snapshot-sessions", map[string]any{"cursor": before, "buckets": []string{"project:" + handbook}})
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(opened), `"snapshot_id":"`)
			session, _, _ := strings.Cut(rest, `"`)

			exec(t, db, revoke.statement)
			exec(t, db, `UPDATE workspace.document SET body = 'BODY again' WHERE title ~ 'TITLE'`)
			exec(t, db, `DELETE FROM workspace.document WHERE title = 'TITLE 12'`)
			exec(t, db, `SELECT tide.seal()`)
			// Of rows that left a bucket he keeps, he may still read what they were while they lay in it.
			moved, secrets := strings.Contains(name, "moved"), []string{"TITLE", "BODY"}
			if moved {
				secrets = []string{"BODY again"}
			}
			var spliced string
			if err := db.QueryRow(t.Context(), `SELECT tide.write_cursor(0, o.seal_id, o.identity, h.fingerprint) FROM tide.read_cursor($1) AS o, tide.read_cursor($2) AS h`, before, other.Cursor).Scan(&spliced); err != nil {
				t.Fatal(err)
			}
			for kind, cursor := range map[string]string{"old": before, "of another": other.Cursor, "spliced": spliced, "none": ""} {
				query := url.QueryEscape(cursor)
				for _, ask := range []struct {
					method, path string
					body         any
				}{
					{"GET", "/sync/pull?cursor=" + query, nil},
					{"GET", "/sync/pull?max_bundles=1&cursor=" + query, nil},
					{"POST", "/sync/connect", map[string]any{"buckets": true, "cursor": cursor}},
					{"POST", "/sync/snapshot-sessions", map[string]any{"cursor": cursor, "buckets": []string{"project:" + handbook}}},
					{"POST", "/sync/snapshot-sessions", map[string]any{"cursor": cursor}},
					{"GET", "/sync/snapshot?bucket=project:" + handbook + "&cursor=" + query, nil},
					{"GET", "/sync/snapshot?cursor=" + query, nil},
					{"GET", "/sync/snapshot-sessions/" + session, nil},
					{"GET", "/sync/snapshot-sessions/" + session + "?after_row_ordinal=5", nil},
					{"POST", "/sync/verify", map[string]any{"buckets": []string{"project:" + handbook}}},
					{"POST", "/sync/verify", map[string]any{"bucket": "project:" + handbook, "schema": "workspace", "table": "document", "payload": true}},
					{"POST", "/sync/verify", map[string]any{"buckets": []string{"user:dov", "viewer:dov"}}},
					{"POST", "/sync/verify", map[string]any{}},
					{"GET", "/sync/schema", nil},
					{"GET", "/sync/capabilities", nil},
					{"GET", "/sync/snapshot", nil},
					{"GET", "/sync/pull?after_bundle_seq=0", nil},
					{"GET", "/sync/committed-bundles/1/rows", nil},
					{"POST", "/sync/push", map[string]any{"source_bundle_id": 1, "rows": []any{map[string]any{"schema": "workspace", "table": "document", "key": map[string]string{"document_id": howWeWrite},
						"op": "UPDATE", "base_row_version": 1, "payload": map[string]string{"body": "mine"}}}}},
				} {
					text, err := server.Do(t.Context(), ask.method, ask.path, ask.body)
					lines, linesErr := inLines.Do(t.Context(), ask.method, ask.path, ask.body)
					said := string(text) + fmt.Sprint(err) + string(lines) + fmt.Sprint(linesErr)
					for _, secret := range secrets {
						if strings.Contains(said, secret) {
							t.Errorf("cursor %s, %s %s: %.500s", kind, ask.method, ask.path, said)
						}
					}
					// Sessions opened before hold as many rows as there were, and a checksum says how many there are.
					asked, _ := json.Marshal(ask.body) // what is not JSON was not sent
					if err == nil && (!moved && strings.HasPrefix(ask.path, "/sync/snapshot-sessions/") ||
						ask.path == "/sync/verify" && (!moved && strings.Contains(string(asked), handbook) || strings.Contains(string(asked), "dov"))) {
						t.Errorf("cursor %s, %s %s: %.500s", kind, ask.method, ask.path, said)
					}
				}
			}
			phone.Cursor = before
			if err := phone.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			want, err := visible(t.Context(), db, revoke.user)
			if err != nil {
				t.Fatal(err)
			}
			if found := differences(heldBy(phone), want); len(found) > 0 {
				t.Errorf("the device has (-) or lacks (+):\n%s", strings.Join(found, "\n"))
			}
			got, err := shown(t.Context(), db, revoke.user)
			if err != nil {
				t.Fatal(err)
			}
			if found := differences(got, want); len(found) > 0 {
				t.Errorf("as tide_client he reads (-) or not (+):\n%s", strings.Join(found, "\n"))
			}
			for _, statement := range []string{`SELECT tide.pull_cursor($1, 'phone', '')`, `SELECT tide.who_sees('workspace.document', '{}') WHERE $1 <> ''`, `SELECT bucket_id FROM tide.membership WHERE $1 <> ''`, `SELECT payload FROM tide.change_log WHERE $1 <> ''`} {
				err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
					if _, err := tx.Exec(t.Context(), `SELECT set_config('app.user_id', $1, true), set_config('role', 'tide_client', true)`, revoke.user); err != nil {
						return err
					}
					_, err := tx.Exec(t.Context(), statement, revoke.user)
					return err
				})
				if err == nil || !strings.Contains(err.Error(), "42501") {
					t.Errorf("%s as tide_client: %v", statement, err)
				}
			}
		})
	}
}
