package client

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// A push that was sent never changes: it is sent again as it was, whatever is written meanwhile and whoever opens the
// file. What is sent in place of a refused one has a name of its own.
func TestPushNeverChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var sent [][]byte
	var lose bool
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/sync/push" {
				next.ServeHTTP(w, r)
				return
			}
			text, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			sent = append(sent, text)
			r.Body = io.NopCloser(bytes.NewReader(text))
			if lose {
				next.ServeHTTP(nothing{}, r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	}
	type push struct {
		Number int64             `json:"source_bundle_id"`
		Bundle string            `json:"bundle_uuid"`
		Rows   []json.RawMessage `json:"rows"`
	}
	read := func(n int) (p push) {
		if err := json.Unmarshal(sent[n], &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	a := s.device(t, "7")
	synced(t, a)
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'one')`)
	lose = true
	if a.Sync(t.Context()) == nil {
		t.Fatal("synced without an answer")
	}
	do(t, a, `UPDATE list SET title = 'two'; INSERT INTO list (id, title) VALUES ('m', 'new')`)
	a = s.open(t, s.path(t, a), s.config("7"))
	lose = false
	synced(t, a)
	if len(sent) != 3 || !bytes.Equal(sent[0], sent[1]) {
		t.Fatalf("%d pushes; the first was\n%s\nand then\n%s", len(sent), sent[0], sent[1])
	}
	if first, next := read(0), read(2); next.Number != first.Number+1 || next.Bundle == first.Bundle || len(next.Rows) != 2 {
		t.Fatalf("after %+v came %+v", first, next)
	}
	is(t, s.there(t, `SELECT id || title FROM app.list`), "ltwo\nmnew")

	sent = nil
	do(t, a, `INSERT INTO list (id, title) VALUES ('n', 'bad'), ('o', 'fine')`)
	synced(t, a)
	if refused, rest := read(0), read(1); len(sent) != 2 || rest.Number != refused.Number || rest.Bundle == refused.Bundle || len(refused.Rows) != 2 || len(rest.Rows) != 1 {
		t.Fatalf("%d pushes: %s", len(sent), sent)
	}
	is(t, letters(t, a), "list n 23514 list_title_check;")
}
