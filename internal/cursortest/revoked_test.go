package cursortest

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
)

// Once access is lost and sealed, nothing of the bucket comes out by any route: with an old cursor, one of
// somebody else, one put together of both, a session opened before, or SQL as the client.
func TestRevokedBucket(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'a'), ('7', 'secret'), ('8', 'secret')`)
	exec(t, db, `INSERT INTO app.item (id, buckets) SELECT 7000 + g, '{secret}' FROM generate_series(1, 20) AS g`)
	exec(t, db, `INSERT INTO app.item (id, buckets) VALUES (1, '{a}'), (7900, '{a,secret}')`)
	exec(t, db, `INSERT INTO app.comment (id, item_id) VALUES (7001, 7001)`)
	web := front(t, db)
	seven, eight := cursorserver.OverHTTP(web, "7", "phone", 5, false), cursorserver.OverHTTP(web, "8", "phone", 5, false)
	phone, other := cursorclient.New(seven), cursorclient.New(eight)
	synced(t, db, phone, "7")
	synced(t, db, other, "8")
	before := phone.Cursor
	exec(t, db, `UPDATE app.item SET n = n + 1 WHERE id BETWEEN 7001 AND 7010`)
	exec(t, db, `SELECT tide.seal()`)
	open := func(buckets ...string) string {
		opened, err := seven.Do(t.Context(), "POST", "/sync/snapshot-sessions", map[string]any{"cursor": before, "buckets": buckets})
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(opened), `"snapshot_id":"`)
		session, _, _ := strings.Cut(rest, `"`)
		return session
	}
	session, kept := open("a", "secret"), open("a")

	exec(t, db, `DELETE FROM app.access WHERE user_id = '7' AND bucket = 'secret'`)
	exec(t, db, `DELETE FROM app.item WHERE id = 7001`)
	exec(t, db, `UPDATE app.item SET n = n + 1 WHERE id <> 1`)
	exec(t, db, `SELECT tide.seal()`)

	decode := func(cursor string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// The position of the one with the list of the other, and the check mended.
	spliced := value[string](t, db, `SELECT tide.write_cursor(0, o.seal_id, o.identity, h.fingerprint) FROM tide.read_cursor($1) AS o, tide.read_cursor($2) AS h`, before, other.Cursor)
	torn := base64.RawURLEncoding.EncodeToString(append(decode(before)[:30], decode(other.Cursor)[30:]...))
	rewound := value[string](t, db, `SELECT tide.write_cursor(0, o.seal_id, o.identity, o.fingerprint) FROM tide.read_cursor($1) AS o`, before)
	for name, cursor := range map[string]string{"old": before, "of another": other.Cursor, "spliced": spliced, "torn": torn, "rewound": rewound, "none": ""} {
		query := url.QueryEscape(cursor)
		for _, ask := range []struct {
			method, path string
			body         any
		}{
			{"GET", "/sync/pull?cursor=" + query, nil},
			{"POST", "/sync/connect", map[string]any{"buckets": true, "cursor": cursor}},
			{"POST", "/sync/snapshot-sessions", map[string]any{"cursor": cursor, "buckets": []string{"secret"}}},
			{"POST", "/sync/snapshot-sessions", map[string]any{"cursor": cursor, "buckets": []string{"a", "secret"}}},
			{"GET", "/sync/snapshot?bucket=secret&cursor=" + query, nil},
			{"GET", "/sync/snapshot?bucket=a&cursor=" + query, nil},
			{"GET", "/sync/snapshot-sessions/" + session, nil},
			{"GET", "/sync/snapshot-sessions/" + session + "?after_row_ordinal=5", nil},
			{"GET", "/sync/snapshot-sessions/" + kept, nil},
			{"GET", "/sync/pull", nil},
			{"GET", "/sync/snapshot", nil},
		} {
			text, err := seven.Do(t.Context(), ask.method, ask.path, ask.body)
			said := string(text) + fmt.Sprint(err)
			// That it must go may be told, and of what lies in another bucket of his its own column.
			said = strings.NewReplacer(`"remove":["secret"]`, "", `"n":1,"buckets":["a","secret"]}`, "", `"n":0,"buckets":["a","secret"]}`, "").Replace(said)
			if strings.Contains(said, "secret") || strings.Contains(said, `"id":"70`) {
				t.Errorf("cursor %s, %s %s: %s", name, ask.method, ask.path, said)
			}
		}
	}
	// What is left of a session is read on, and says nothing of the bucket.
	text, err := seven.Do(t.Context(), "GET", "/sync/snapshot-sessions/"+kept+"?after_row_ordinal=1", nil)
	if said := string(text); err != nil || strings.Count(said, `"row_version"`) != 1 || !strings.Contains(said, `"key":{"id":"7900"}`) || !strings.Contains(said, `,"buckets":["a"]}],`) {
		t.Errorf("the rest of a session: %s, %v", text, err)
	}
	positions := map[string]cursorclient.Position{"secret": {BundleID: 1, Seal: "1-" + value[string](t, db, `SELECT identity::text FROM tide.seal_log WHERE seal_id = 1`)}}
	answer, err := seven.Connect(t.Context(), "", positions)
	if err != nil || fmt.Sprint(answer.Remove) != "[secret]" || len(answer.Repair) > 0 {
		t.Errorf("positions in a bucket that was lost: %+v, %v", answer, err)
	}
	phone.Cursor = before
	synced(t, db, phone, "7")
	for _, statement := range []string{`SELECT tide.pull_cursor('8', 'phone', '` + other.Cursor + `')`, `SELECT tide.buckets_of('8')`, `TABLE tide.source_buckets`, `TABLE tide.snapshot_page`, `TABLE tide.bundle_log`} {
		if got := code(t, db, `SET LOCAL ROLE tide_client; `+statement); got != "42501" {
			t.Errorf("%s as tide_client: %q", statement, got)
		}
	}
}

// A stream that was opened before ends when the access is lost: of a snapshot, and of a bundle that is
// too large to be sent from memory.
func TestStreamEndsWhenAccessIsLost(t *testing.T) {
	t.Parallel()
	const rows, size = 6000, 8000
	for name, ask := range map[string]struct {
		path, accept string
		pulled       bool
	}{
		"a snapshot":      {path: "/sync/snapshot?cursor="},
		"a pull":          {path: "/sync/pull?cursor=", pulled: true},
		"a pull of lines": {path: "/sync/pull?cursor=", accept: "application/x-ndjson", pulled: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := setup(t)
			exec(t, db, `ALTER TABLE app.item ADD body text`)
			exec(t, db, `SELECT tide.refresh('app.item')`)
			exec(t, db, `INSERT INTO app.access VALUES ('7', 'a')`)
			web := front(t, db)
			server := cursorserver.OverHTTP(web, "7", "phone", 0, false)
			d := cursorclient.New(server)
			if ask.pulled {
				synced(t, db, d, "7") // it holds the bucket
			}
			exec(t, db, `INSERT INTO app.item (id, buckets, body) SELECT g, '{a}', repeat('x', $2) FROM generate_series(1, $1) AS g`, rows, size)
			exec(t, db, `SELECT tide.seal()`)
			if !ask.pulled {
				connected, err := server.Connect(t.Context(), "", nil)
				if err != nil {
					t.Fatal(err)
				}
				d.Cursor = connected.Cursor
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL+ask.path+d.Cursor, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header = server.Header.Clone()
			request.Header.Set("Accept", ask.accept)
			request.Header.Set("Accept-Encoding", "identity") // what is compressed would all be on its way
			response, err := web.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close() //nolint:errcheck // It was only read.
			if _, err := io.CopyN(io.Discard, response.Body, 10*size); err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("%s: %v", response.Status, err)
			}
			exec(t, db, `DELETE FROM app.access`)
			came, err := io.Copy(io.Discard, response.Body)
			if err == nil || came > rows*size/2 {
				t.Errorf("after the access was lost, %d bytes came: %v", came, err)
			}
		})
	}
}
