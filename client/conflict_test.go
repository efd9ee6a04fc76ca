package client

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Both sides change a row: the resolver decides, what it decided is listed, and all sides agree.
func TestConflicts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const list = `SELECT id, title, rank, slug FROM list ORDER BY id`
	for _, test := range []struct {
		name          string
		resolver      Resolver
		local, server string
		want          string
		resolution    string
	}{
		{"server", nil, `UPDATE list SET title = 'mine', rank = 5`, `UPDATE app.list SET title = 'theirs'`, "server|theirs|0|-", "server wins"},
		{"client", LocalWins, `UPDATE list SET title = 'mine', rank = 5`, `UPDATE app.list SET title = 'theirs', slug = 's'`, "client|mine|5|s", "local wins"},
		{"merge", MergeColumns, `UPDATE list SET title = 'mine', rank = 5`, `UPDATE app.list SET title = 'theirs', slug = 'm'`, "merge|theirs|5|m", "merge by column"},
		{"custom", func(c Conflict) (Row, string) {
			return Row{"title": c.Local["title"].(string) + "+" + c.Server["title"].(string)}, "both titles"
		}, `UPDATE list SET title = 'mine'`, `UPDATE app.list SET title = 'theirs'`, "custom|mine+theirs|0|-", "both titles"},
		{"custom-key", func(c Conflict) (Row, string) {
			return Row{"id": "another", "title": "third", "rank": uint16(8)}, "a key that a resolver cannot change"
		}, `UPDATE list SET title = 'mine'`, `UPDATE app.list SET title = 'theirs'`, "custom-key|third|8|-", "a key that a resolver cannot change"},
		{"custom-none", func(Conflict) (Row, string) { return nil, "no row" }, `UPDATE list SET title = 'mine'`, `UPDATE app.list SET title = 'theirs'`, "", "no row"},
		{"merge-deleted", MergeColumns, `UPDATE list SET title = 'mine'`, `DELETE FROM app.list`, "", "merge by column: the server's, a side deleted the row"},
		{"server-deleted", nil, `UPDATE list SET title = 'mine'`, `DELETE FROM app.list`, "", "server wins"},
		{"client-undeletes", LocalWins, `UPDATE list SET title = 'mine'`, `DELETE FROM app.list`, "client-undeletes|mine|0|-", "local wins"},
		{"client-deletes", LocalWins, `DELETE FROM list`, `UPDATE app.list SET title = 'theirs'`, "", "local wins"},
		{"server-keeps", nil, `DELETE FROM list`, `UPDATE app.list SET title = 'theirs'`, "server-keeps|theirs|0|-", "server wins"},
		{"same", nil, `UPDATE list SET title = 'agreed'`, `UPDATE app.list SET title = 'agreed'`, "same|agreed|0|-", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			choose := func(c *Config) { c.Resolvers = map[string]Resolver{"list": test.resolver} }
			if test.resolver == nil {
				choose = func(*Config) {}
			}
			a, b := s.device(t, test.name, choose), s.device(t, test.name)
			do(t, a, `INSERT INTO list (id, title) VALUES (?, 'was')`, test.name)
			synced(t, a)
			do(t, a, test.local)
			s.exec(t, test.server+` WHERE id = '`+test.name+`'`)
			synced(t, a, b)
			is(t, rows(t, a, list), test.want)
			is(t, rows(t, b, list), test.want)
			is(t, s.there(t, `SELECT concat_ws('|', id, title, rank, coalesce(slug, '-')) FROM app.list WHERE id = '`+test.name+`'`), test.want)
			found, err := a.Conflicts(context.Background(), 0)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(found) > 0 {
				got = found[0].Resolution
				title := func(r Row) string {
					if r == nil {
						return "none"
					}
					return r["title"].(string)
				}
				of := func(statement string) string {
					if strings.HasPrefix(statement, "DELETE") {
						return "none"
					}
					return strings.Split(statement, "'")[1]
				}
				result := "none"
				if test.want != "" {
					result = strings.Split(test.want, "|")[1]
				}
				is(t, strings.Join([]string{found[0].Table, found[0].Key, title(found[0].Base), title(found[0].Local), title(found[0].Server), title(found[0].Result)}, " "),
					strings.Join([]string{"list", test.name, "was", of(test.local), of(test.server), result}, " "))
			}
			if is(t, got, test.resolution); len(found) > 1 {
				t.Fatalf("listed more than once: %+v", found)
			}
		})
	}
}

// A resolver that gives what SQLite cannot hold is told so, and nothing is lost.
func TestResolverThatGivesNoValue(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var given any = time.Now()
	a := s.device(t, "7", func(c *Config) {
		c.Resolvers = map[string]Resolver{"list": func(Conflict) (Row, string) { return Row{"rank": given}, "custom" }}
	})
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'was')`)
	synced(t, a)
	do(t, a, `UPDATE list SET title = 'mine'`)
	s.exec(t, `UPDATE app.list SET title = 'theirs'`)
	if err := a.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "column rank of a resolver's row of list is a time.Time") {
		t.Fatalf("synced: %v", err)
	}
	is(t, rows(t, a, `SELECT title FROM list`), "mine")
	given = true
	synced(t, a)
	is(t, s.there(t, `SELECT concat_ws('|', title, rank) FROM app.list`), "theirs|1")
}

// Two devices insert the same key while they are offline.
func TestSameKeyInsertedTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b := s.device(t, "7"), s.device(t, "7", func(c *Config) { c.Resolvers = map[string]Resolver{"list": LocalWins} })
	do(t, a, `INSERT INTO list (id, title, slug) VALUES ('x', 'of a', 'a')`)
	do(t, b, `INSERT INTO list (id, title) VALUES ('x', 'of b')`)
	synced(t, a, b, a)
	is(t, rows(t, a, `SELECT id, title FROM list`), "x|of b")
	is(t, rows(t, b, `SELECT id, title FROM list`), "x|of b")
}

// A key that was deleted at the server before this device came is inserted again.
func TestInsertedAfterItsDeletion(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "7")
	do(t, a, `INSERT INTO list (id, title) VALUES ('x', 'first')`)
	synced(t, a)
	do(t, a, `DELETE FROM list`)
	synced(t, a)
	b := s.device(t, "7")
	synced(t, b)
	do(t, b, `INSERT INTO list (id, title) VALUES ('x', 'second')`)
	synced(t, b, a)
	is(t, rows(t, a, `SELECT id, title FROM list`), "x|second")
	do(t, a, `DELETE FROM list`)
	do(t, a, `INSERT INTO list (id, title) VALUES ('x', 'third')`)
	synced(t, a, b)
	is(t, rows(t, b, `SELECT id, title FROM list`), "x|third")
}

// A key that is another user's row at the server: the row waits here and says so, the rest goes, and given
// up it is gone.
func TestKeyOfAnotherUser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title) VALUES ('taken', '8', 'not his')`)
	s.seal(t)
	a := s.device(t, "7")
	synced(t, a)
	do(t, a, `INSERT INTO list (id, title) VALUES ('taken', 'mine'), ('free', 'mine')`)
	synced(t, a)
	is(t, s.there(t, `SELECT id || owner_id || title FROM app.list`), "free7mine\ntaken8not his")
	is(t, rows(t, a, `SELECT key, held ->> 'code', held ->> 'constraint', instr(held, 'not his') FROM _tide_dirty`), "taken|23505|list_pkey|0")
	is(t, rows(t, a, `SELECT id || title FROM list ORDER BY id`), "freemine\ntakenmine")
	if err := a.Discard(t.Context(), "list", "taken"); err != nil {
		t.Fatal(err)
	}
	synced(t, a)
	is(t, rows(t, a, `SELECT id FROM list`), "free")
	is(t, letters(t, a), "")
}

// A row of the server waits in the inbox, and here it is edited as it was before: the edit waits too, says why, and
// meets the row once that fits.
func TestEditOfARowThatDoesNotFit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exec(t, `INSERT INTO app.list (id, owner_id, title, rank) VALUES ('a', '7', 'first', 3)`)
	s.seal(t)
	path := t.TempDir() + "/device.db"
	file(t, path, `CREATE TABLE list (id TEXT PRIMARY KEY, owner_id TEXT, title TEXT NOT NULL, slug TEXT, rank INTEGER NOT NULL DEFAULT 0 CHECK (rank < 10), seen TEXT)`)
	config := s.config("7")
	config.Resolvers = map[string]Resolver{"list": LocalWins}
	a := s.open(t, path, config)
	synced(t, a)
	s.exec(t, `UPDATE app.list SET rank = 11`)
	s.seal(t)
	synced(t, a)
	do(t, a, `UPDATE list SET title = 'mine'`)
	do(t, a, `INSERT INTO item (id) VALUES (1)`)
	synced(t, a)
	is(t, letters(t, a), "list a push_conflict ;")
	is(t, rows(t, a, `SELECT instr(held ->> 'detail', 'inbox') > 0 FROM _tide_dirty`), "1")
	is(t, rows(t, a, `SELECT title, rank FROM list`), "mine|3")
	is(t, s.there(t, `SELECT id FROM app.item UNION ALL SELECT rank FROM app.list`), "1\n11")
	is(t, rows(t, a, `SELECT count(*) FROM _tide_conflict`), "0")
	s.exec(t, `UPDATE app.list SET rank = 9`)
	s.seal(t)
	synced(t, a)
	is(t, letters(t, a), "")
	is(t, rows(t, a, `SELECT title, rank FROM list`), "mine|9")
	is(t, s.there(t, `SELECT concat_ws('|', title, rank) FROM app.list`), "mine|9")
}

// The list of conflicts goes on after those that were seen.
func TestConflictsAreForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.device(t, "a")
	do(t, a, `INSERT INTO list (id, title) VALUES ('l', 'was')`)
	synced(t, a)
	conflict := func() (last int64) {
		do(t, a, `UPDATE list SET title = 'mine'`)
		s.exec(t, `UPDATE app.list SET title = 'theirs', rank = rank + 1 WHERE id = 'l'`)
		s.seal(t)
		synced(t, a)
		list, err := a.Conflicts(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return list[len(list)-1].ID
	}
	first := conflict()
	second := conflict()
	if err := a.ForgetConflicts(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	is(t, rows(t, a, `SELECT group_concat(id) FROM _tide_conflict`), strconv.FormatInt(second, 10))
	if err := a.ForgetConflicts(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if third := conflict(); third <= second {
		t.Errorf("the next conflict is %d, after %d", third, second)
	}
}
