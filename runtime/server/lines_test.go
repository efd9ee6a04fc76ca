package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// A column of type json keeps the line feeds of its text; a row is one line all the same, in every form of
// an answer, and its checksum is that of the line.
func TestRowsOfPrettyJSONAreLines(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	const pretty = "{\n  \"a\": [\r\n    1,\n\t2\n  ],\n  \"text\": \"x\\ny\"\n}"
	f.exec(t, `CREATE TYPE app.pair AS (a json, b int)`,
		`CREATE TABLE app.doc (id bigint PRIMARY KEY, owner_id text NOT NULL, raw json, many json[], pair app.pair)`,
		`SELECT tide.register_table('app.doc', owner_column => 'owner_id', push_policy => 'owner_only')`, `SELECT tide.seal()`)
	d := f.device("u1", "phone").connect(t)
	pushed := d.push(t, 1, `{"schema":"app","table":"doc","key":{"id":"1"},"op":"INSERT","base_row_version":0,"payload":{"raw":`+pretty+`}}`)
	if _, err := f.db.Exec(t.Context(), `INSERT INTO app.doc VALUES (2, 'u1', $1::text::json, ARRAY[$1::text::json], ROW($1::text::json, 1))`, pretty); err != nil {
		t.Fatal(err)
	}
	f.exec(t, `SELECT tide.seal()`)
	session := d.post(t, "/sync/snapshot-sessions", "").is(t, http.StatusOK, "")
	stream := d.get(t, "/sync/snapshot")
	for what, test := range map[string]struct {
		got         answer
		rows, lines int
	}{
		"the answer to a push": {pushed, 1, 1},
		"a pull":               {d.get(t, "/sync/pull"), 2, 1},
		"a pull in lines":      {d.with(t, http.MethodGet, "/sync/pull", "", "Accept", typeLines), 2, 8},
		"rows of a bundle":     {d.get(t, "/sync/committed-bundles/2/rows"), 1, 1},
		"a snapshot in lines":  {stream, 2, 4},
		"a snapshot in chunks": {d.get(t, "/sync/snapshot-sessions/"+session.field(t, "snapshot_id")), 2, 1},
	} {
		for line := range strings.Lines(test.got.body) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s: a line is no JSON: %q", what, line)
			}
		}
		lines, rows := strings.Count(test.got.body, "\n"), strings.Count(test.got.body, `"raw":`)
		if test.got.status != http.StatusOK || lines != test.lines || rows != test.rows || strings.Contains(test.got.body, "\r") {
			t.Errorf("%s: %d, %d lines, %d rows: %q", what, test.got.status, lines, rows, test.got.body)
		}
	}
	checksums := d.post(t, "/sync/verify", `{"bucket":"user:u1","schema":"app","table":"doc"}`).is(t, http.StatusOK, "")
	for line := range strings.Lines(stream.body) {
		var row struct{ Key, Payload json.RawMessage }
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Key == nil {
			continue // the first line, or the last
		}
		sum := sha256.Sum256([]byte(string(row.Key) + "\n" + string(row.Payload)))
		if !strings.Contains(checksums.body, hex.EncodeToString(sum[:8])) {
			t.Errorf("%s is not of %q", checksums.body, line)
		}
	}
}
