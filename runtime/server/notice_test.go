package server

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// settled has the server read anew what the database says.
func (f *front) settled() { f.server.notice.last.Store(nil) }

// In maintenance every device is told so, with the operator's words, by every server and by the SQL.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("ann", "a").connect(t)
	d.push(t, 1, note("INSERT", 1, 0, `"body":"a"`))
	session := d.session(t, 2, 1)
	f.exec(t, `SELECT tide.set_maintenance('We move to a larger machine.', '90 seconds')`)
	refusedBySQL := func() {
		t.Helper()
		for _, statement := range []string{
			`SELECT tide.push('ann', 'a', 2, '[{"schema":"app","table":"note","key":{"id":"2"},"op":"INSERT","payload":{}}]')`,
			`SELECT tide.create_push_session('ann', 'a', 2, 1)`, `SELECT tide.connect('ann', 'new', false)`,
			`SELECT tide.add_push_chunk('ann', 'a', '` + strings.TrimPrefix(session, "/sync/push-sessions/") + `', 0, '[]')`,
			`SELECT tide.commit_push_session('ann', 'a', '` + strings.TrimPrefix(session, "/sync/push-sessions/") + `')`,
		} {
			_, err := f.db.Exec(t.Context(), statement)
			var refused *pgconn.PgError
			if !errors.As(err, &refused) || (refused.Code != "TD129" && !strings.Contains(statement, "commit")) {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
	refusedBySQL()
	// A server that has not heard of it yet is told by the SQL.
	d.post(t, "/sync/push", pushOf(2, note("INSERT", 2, 0, ``))).later(t, http.StatusServiceUnavailable, "maintenance", "1")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if got := d.get(t, "/sync/pull"); got.status != http.StatusOK || time.Now().After(deadline) {
			got.later(t, http.StatusServiceUnavailable, "maintenance", "90")
			if got.field(t, "message") != "We move to a larger machine." {
				t.Error(got.body)
			}
			break
		}
	}
	for _, r := range routes() {
		if r.caller == device {
			path := strings.NewReplacer("{id}", taskA, "{seq}", "1").Replace(r.path)
			d.do(t, r.method, path, "").later(t, http.StatusServiceUnavailable, "maintenance", "90")
		}
	}
	d.get(t, "/syncx/health").is(t, http.StatusOK, "")
	var remedy string
	if err := f.db.QueryRow(t.Context(), `SELECT remedy FROM tide.check() WHERE finding = 'devices have to wait'`).Scan(&remedy); err != nil {
		t.Fatal(err)
	}
	f.exec(t, remedy)
	f.settled()
	d.push(t, 2, note("INSERT", 2, 0, `"body":"b"`))
	_, err := f.db.Exec(t.Context(), `SELECT tide.set_maintenance('x', '-1 second')`)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "TD006" {
		t.Errorf("a time that is none: %v", err)
	}
}

// Retries of what was committed before are answered during a maintenance too, by the SQL.
func TestRetriesInMaintenance(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("ann", "a").connect(t)
	d.push(t, 1, note("INSERT", 1, 0, `"body":"a"`))
	f.exec(t, `SELECT tide.set_maintenance('Wait.')`)
	var status string
	if err := f.db.QueryRow(t.Context(), `SELECT status FROM tide.push('ann', 'a', 1, '[]')`).Scan(&status); err != nil || status != "already_committed" {
		t.Errorf("%q %v", status, err)
	}
}

// Versions are compared as versions; who says none passes, unless the setting says otherwise.
func TestMinimumVersion(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("ann", "a")
	for _, test := range []struct{ setting, version, code string }{
		{`min_app_version = NULL`, "0.0.1", ""},
		{`min_app_version = '2.10'`, "2.10.0", ""},
		{`min_app_version = '2.10'`, "2.10", ""},
		{`min_app_version = '2.10'`, "10", ""},
		{`min_app_version = '2.10'`, "2.11.0+build.7", ""},
		{`min_app_version = '2.10'`, "2.9.9", "client_too_old"},
		{`min_app_version = '2.10'`, "2.10.0-beta.1", "client_too_old"},
		{`min_app_version = '2.10'`, "newest", "client_too_old"},
		{`min_app_version = '2.10'`, "", ""},
		{`min_app_version = '2.10', app_version_required = true`, "", "client_too_old"},
		{`min_app_version = NULL, app_version_required = true`, "", ""},
	} {
		f.exec(t, `UPDATE tide.setting SET `+test.setting)
		f.settled()
		got := d.with(t, http.MethodGet, "/sync/capabilities", "", "Tide-App-Version", test.version)
		if test.code == "" {
			got.is(t, http.StatusOK, "")
			continue
		}
		got.is(t, http.StatusUpgradeRequired, test.code)
		if got.field(t, "min_app_version") != "2.10" || got.field(t, "retryable") != "false" {
			t.Error(got.body)
		}
	}
	for _, version := range []string{"", "x", "1.2.3.4", "v2", "01", "1.2-beta"} {
		if _, err := f.db.Exec(t.Context(), `UPDATE tide.setting SET min_app_version = $1`, version); err == nil {
			t.Errorf("the setting may be %q, which nobody could compare", version)
		}
	}
}
