package client

import (
	"fmt"
	"net/http"
	"os"
	"testing"
)

// A power cut tears the journal of the file at any place behind what was synced to the disk last: there the
// device goes on. What the server was told is in the file, whole transactions of the application alone are
// there, and nothing arrives twice.
func TestTornJournal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	folder := t.TempDir()
	path := folder + "/device.db"
	a := s.open(t, path, s.config("7"))
	do(t, a, `INSERT INTO list (id, title) VALUES ('counter', 'c')`)
	synced(t, a)
	do(t, a, `INSERT INTO list (id, title) VALUES ('first', 'x')`)
	// The push arrives, its answer does not: the file must know that it was sent.
	var told int64
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/sync/push" {
				next.ServeHTTP(nothing{}, r)
				told = size(t, path+"-wal")
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	}
	if err := a.Sync(t.Context()); err == nil {
		t.Fatal("synced")
	}
	s.around = nil
	for i := range 3 {
		do(t, a, fmt.Sprintf(`BEGIN; INSERT INTO list (id, title) VALUES ('n%[1]d', 'x'); INSERT INTO item (id, list_id) VALUES (%[1]d, 'n%[1]d'); COMMIT`, i))
	}
	end := size(t, path+"-wal")
	if told == 0 || end <= told {
		t.Fatalf("the journal had %d bytes when the push was sent, and has %d", told, end)
	}
	database, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 9 {
		torn := fmt.Sprintf("%s/torn%d.db", folder, n)
		cut := told + (end-told)*int64(n)/8
		left := append([]byte(nil), journal[:cut]...)
		if n%2 == 1 { // the last sector was not written
			clear(left[max(told, cut-512):])
		}
		if err := os.WriteFile(torn, database, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(torn+"-wal", left, 0o600); err != nil {
			t.Fatal(err)
		}
		b := s.open(t, torn, s.config("7"))
		is(t, rows(t, b, `PRAGMA integrity_check`), "ok")
		is(t, rows(t, b, `SELECT attempted, (SELECT count(*) FROM _tide_outbox) FROM _tide_state`), "1|1")
		is(t, rows(t, b, `SELECT (SELECT count(*) FROM list WHERE id LIKE 'n%') = (SELECT count(*) FROM item)`), "1")
		synced(t, b)
		is(t, rows(t, b, `SELECT id FROM list ORDER BY id`), s.there(t, `SELECT id FROM app.list`))
		is(t, s.there(t, `SELECT count(*) FROM tide.changes WHERE op = 'INSERT' AND payload ->> 'id' = 'first'`), "1")
	}
	is(t, s.there(t, `SELECT count(*) FROM app.list`), "5")
}

// nothing takes an answer that gets lost.
type nothing struct{}

func (nothing) Header() http.Header            { return http.Header{} }
func (nothing) Write(text []byte) (int, error) { return len(text), nil }
func (nothing) WriteHeader(int)                {}

func size(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
