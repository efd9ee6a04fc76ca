package client

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"testing"
)

// A power cut tears the journal of the file at any place behind what was synced to the disk last: there the
// device goes on. What the server was told is in the file, whole transactions of the application alone are
// there, and nothing arrives twice. The driver has no file system that can be written and could fail: what a
// power cut leaves is made by hand, of what the device must have synced before it sends.
func TestTornJournal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path := t.TempDir() + "/device.db"
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
	var full int
	if err := a.own.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&full); err != nil || full != 2 {
		t.Fatalf("what is committed before a request may not be on the disk: synchronous is %d, %v", full, err)
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
	// A checkpoint, cut in the middle, leaves any of the pages new in the file, some torn; the journal has all.
	do(t, a, `PRAGMA wal_checkpoint(PASSIVE)`)
	checked, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page, sector = 4096, 512
	pages := (len(checked) + page - 1) / page
	if len(checked) <= len(database) || bytes.Equal(checked[:len(database)], database) {
		t.Fatal("the checkpoint wrote nothing")
	}
	for n := range 4 {
		database := append(bytes.Clone(database), make([]byte, len(checked)-len(database))...)
		for p := range pages {
			if p%4 == n || p%4 == (n+1)%4 {
				copy(database[p*page:], checked[p*page:(p+1)*page-p%2*3*sector])
			}
		}
		b := s.open(t, s.left(t, database, journal), s.config("7"))
		is(t, rows(t, b, `PRAGMA integrity_check`), "ok")
		is(t, rows(t, b, `SELECT count(*) FROM list`), "5")
	}
	for n := range 9 {
		cut := told + (end-told)*int64(n)/8
		left := append([]byte(nil), journal[:cut]...)
		if n%2 == 1 { // the last sector was not written
			clear(left[max(told, cut-512):])
		}
		b := s.open(t, s.left(t, database, left), s.config("7"))
		is(t, rows(t, b, `PRAGMA integrity_check`), "ok")
		is(t, rows(t, b, `SELECT attempted, (SELECT count(*) FROM _tide_outbox) FROM _tide_state`), "1|1")
		is(t, rows(t, b, `SELECT (SELECT count(*) FROM list WHERE id LIKE 'n%') = (SELECT count(*) FROM item)`), "1")
		synced(t, b)
		is(t, rows(t, b, `SELECT id FROM list ORDER BY id`), s.there(t, `SELECT id FROM app.list`))
		is(t, s.there(t, `SELECT count(*) FROM tide.changes WHERE op = 'INSERT' AND payload ->> 'id' = 'first'`), "1")
	}
	is(t, s.there(t, `SELECT count(*) FROM app.list`), "5")
}

// left is a file as a power cut left it.
func (*site) left(t testing.TB, database, journal []byte) string {
	t.Helper()
	path := t.TempDir() + "/left.db"
	for name, text := range map[string][]byte{path: database, path + "-wal": journal} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
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
