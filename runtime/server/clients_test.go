package server

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// What devices say of themselves is noted together, once, and again when it is new.
func TestClientsAreNoted(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	says := func(user, source, version, name string) {
		t.Helper()
		d := f.device(user, source)
		d.with(t, http.MethodPost, "/sync/connect", `{"has_local_pending_rows":false}`, appVersionHeader, version, platformHeader, "ios 19", deviceNameHeader, name).is(t, http.StatusOK, "")
	}
	listed := func() (rows string) {
		t.Helper()
		f.server.noteWaitingClients(t.Context())
		err := f.db.QueryRow(t.Context(), `SELECT coalesce(string_agg(concat_ws('|', c.user_id, c.source_id, c.app_version, c.platform, c.device_name, c.last_push), E'\n' ORDER BY c.user_id, c.source_id), '')
			FROM tide.clients AS c`).Scan(&rows)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	written := func() (n int) {
		t.Helper()
		if err := f.db.QueryRow(t.Context(), `SELECT count(DISTINCT xmin::text) FROM tide.client`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	says("ann", "a", "1.0", "Ann's phone")
	says("ann", "b", "1.0", strings.Repeat("é", 100)+"\xff\t")
	f.device("nobody", "yet").with(t, http.MethodGet, "/sync/capabilities", "", appVersionHeader, "9").is(t, http.StatusOK, "")
	f.device("ann", "never connected").with(t, http.MethodGet, "/sync/pull", "", appVersionHeader, "9").is(t, http.StatusOK, "")
	f.device("ann", "a").push(t, 1, note("INSERT", 1, 0, `"body":"a"`)) // says nothing of itself now
	want := "ann|a|1.0|ios 19|Ann's phone|1\nann|b|1.0|ios 19|" + strings.Repeat("é", 64)
	if got := listed(); got != want || written() != 1 {
		t.Errorf("got %q, want %q, in %d transactions", got, want, written())
	}
	says("ann", "b", "1.0", strings.Repeat("é", 100))
	if f.server.clients.waiting[clientKey{"ann", "b"}] != (about{}) || listed() != want || written() != 1 {
		t.Error("what is known was noted again")
	}
	says("ann", "b", "1.1", "b")
	if got := listed(); got != "ann|a|1.0|ios 19|Ann's phone|1\nann|b|1.1|ios 19|b" || written() != 2 {
		t.Errorf("got %q in %d transactions", got, written())
	}
	// Other servers say the same: it changes nothing within the hour.
	f.exec(t, `SELECT tide.note_clients('[{"user_id":"ann","source_id":"b","app_version":"1.1","platform":"ios 19","device_name":"b"},{"user_id":null},{"user_id":"ann","source_id":"a"}]')`)
	if written() != 2 {
		t.Error("what is known was written again")
	}
	f.exec(t, `UPDATE tide.client SET last_seen_at = last_seen_at - interval '1 hour' WHERE source_id = 'b'`,
		`SELECT tide.note_clients('[{"user_id":"ann","source_id":"b","app_version":"1.1","platform":"ios 19","device_name":"b"}]')`)
	var recently bool
	if err := f.db.QueryRow(t.Context(), `SELECT last_seen_at > clock_timestamp() - interval '10 minutes' FROM tide.clients WHERE source_id = 'b'`).Scan(&recently); err != nil || !recently {
		t.Errorf("after an hour: %v %v", recently, err)
	}
}

// What could not be written is noted when the client comes again, and what waits when the server ends.
func TestClientsThatCouldNotBeNoted(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	connect := func() {
		f.device("ann", "a").with(t, http.MethodPost, "/sync/connect", `{"has_local_pending_rows":false}`, appVersionHeader, "1.0").is(t, http.StatusOK, "")
	}
	connect()
	f.exec(t, `ALTER TABLE tide.client RENAME TO client_away`)
	f.server.noteWaitingClients(t.Context())
	f.exec(t, `ALTER TABLE tide.client_away RENAME TO client`)
	connect()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Run(ctx); err != nil {
		t.Fatal(err)
	}
	var version string
	if err := f.db.QueryRow(t.Context(), `SELECT app_version FROM tide.clients`).Scan(&version); err != nil || version != "1.0" {
		t.Errorf("got %q %v", version, err)
	}
}
