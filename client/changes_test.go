package client

import (
	"fmt"
	"strings"
	"testing"
)

// A user interface hears which tables the server changed, and how far long work has come.
func TestChangesAndProgress(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.member VALUES ('7', 'red'); INSERT INTO app.notice SELECT g, '{red}', 'n' FROM generate_series(1, 5) AS g`)
	s.seal(t)
	var heard []string
	a := s.device(t, "7", func(c *Config) {
		c.MaxRowsPerChunk, c.MaxRowsPerRequest = 2, 2
		c.Progress = func(p Progress) { heard = append(heard, fmt.Sprintf("%s %d/%d", p.Work, p.Done, p.Total)) }
	})
	changes := a.Changes()
	defer changes.Close()
	told := func(want string) {
		t.Helper()
		select {
		case <-changes.C:
		default:
		}
		is(t, strings.Join(changes.Take(), " "), want)
	}
	synced(t, a)
	told("notice")
	do(t, a, `INSERT INTO item (id) VALUES (1), (2), (3)`)
	told("") // the application knows
	synced(t, a)
	is(t, strings.Join(heard, ", "), "fetch 2/5, fetch 4/5, fetch 5/5, push 2/3, push 3/3")
	told("item") // what the server filled in
	s.exec(t, `UPDATE app.notice SET body = 'x'; UPDATE app.item SET body = 'y'`)
	s.seal(t)
	synced(t, a)
	told("item notice")
	synced(t, a)
	told("")
}
