package exchangetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/v1client"
)

const (
	note1 = "0a0a0a0a-0000-4000-8000-000000000001"
	note2 = "0a0a0a0a-0000-4000-8000-000000000002"
)

func TestWhatOneDevicePushesAnotherPulls(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.attached(t, "ann"), s.attached(t, "ann", func(c *v1client.Config) { c.PullBundles = 1 })
	must(t,
		one.Insert("doc", doc("ann", "a", "one", 1)),
		one.Insert("doc", doc("ann", "b", "two", 2)),
		one.Insert("note", `{"id":"`+note1+`","doc_id":"a","owner_id":"ann","body":"<b>&\"é\u2028","at":"2026-01-02T03:04:05.123456+00:00","amount":12345678901234567890.0123456789,"big":9007199254740993,"image":"yv66vg==","extra":{"k":[1,1.50,null]}}`),
		one.Sync(t.Context()),
		one.Update("doc", doc("ann", "a", "one", 10)), one.Delete("doc", "b"), one.Sync(t.Context()),
		one.Insert("doc", doc("ann", "c", "two", 3)), one.Sync(t.Context()),
		two.Sync(t.Context()),
	)
	s.same(t, "ann", one)
	s.same(t, "ann", two)
	for _, want := range []string{`9007199254740993`, `12345678901234567890.0123456789`, `1.50`} {
		if !strings.Contains(two.Rows("note")[note1], want) {
			t.Errorf("%s did not arrive as it was sent: %s", want, two.Rows("note")[note1])
		}
	}
	if two.Version("doc", "b") == 0 || one.LastSeq() != two.LastSeq() {
		t.Errorf("the deleted row has version %d; the devices stand at %d and %d", two.Version("doc", "b"), one.LastSeq(), two.LastSeq())
	}
	// What the application does reaches both, cascades too.
	s.exec(t, `UPDATE app.doc SET n = n + 1`, `DELETE FROM app.doc WHERE id = 'a'`)
	s.exec(t, `SELECT tide.seal()`)
	must(t, one.Sync(t.Context()), two.Sync(t.Context()))
	s.same(t, "ann", one)
	s.same(t, "ann", two)
	if len(two.Rows("note")) != 0 || len(two.Rows("doc")) != 1 {
		t.Errorf("after the cascade: %v %v", two.Rows("doc"), two.Rows("note"))
	}
	if len(one.Conflicts())+len(two.Conflicts()) > 0 {
		t.Errorf("conflicts: %v %v", one.Conflicts(), two.Conflicts())
	}
}

// A device deletes a row and the database deletes its children with it: the bundle has rows the device
// did not send.
func TestACascadeComesBackWithThePush(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.attached(t, "ann")
	note := func(id string) string {
		return `{"id":"` + id + `","doc_id":"a","owner_id":"ann","body":null,"at":null,"amount":null,"big":null,"image":null,"extra":null}`
	}
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)), d.Insert("note", note(note1)), d.Insert("note", note(note2)), d.Sync(t.Context()))
	must(t, d.Delete("doc", "a"), d.Push(t.Context()))
	s.same(t, "ann", d)
	seq := d.LastSeq()
	must(t, d.Pull(t.Context()))
	if d.LastSeq() != seq || len(d.Rows("note")) != 0 {
		t.Errorf("at %d, then %d, notes %v", seq, d.LastSeq(), d.Rows("note"))
	}
}

func TestEveryChunkSizeGivesTheSameBundle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, c := range []struct{ rows, chunk, page int }{{1, 1, 1}, {10, 1, 3}, {10, 3, 1}, {10, 10, 10}, {10, 9, 11}, {2500, 1000, 999}, {6000, 5000, 5000}} {
		user := fmt.Sprintf("user %d/%d/%d", c.rows, c.chunk, c.page)
		d := s.device(t, user, func(config *v1client.Config) { config.ChunkRows, config.PageRows = c.chunk, c.page })
		for i := range c.rows {
			must(t, d.Insert("doc", doc(user, fmt.Sprintf("%s %05d", user, i), fmt.Sprintf("%s title %d", user, i), i)))
		}
		must(t, d.Sync(t.Context()))
		if d.LastSeq() != 1 || d.NextBundle() != 2 {
			t.Errorf("%s: at bundle %d, next push %d", user, d.LastSeq(), d.NextBundle())
		}
		s.same(t, user, d)
		s.same(t, user, s.attached(t, user))
	}
}

// A row whose change changes nothing is a bundle all the same.
func TestAPushThatChangesNothingIsABundle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.attached(t, "ann")
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)), d.Sync(t.Context()))
	must(t, d.Update("doc", doc("ann", "a", "one", 1)), d.Sync(t.Context()))
	if d.LastSeq() != 2 || d.Version("doc", "a") != 2 {
		t.Errorf("at %d, version %d", d.LastSeq(), d.Version("doc", "a"))
	}
}

// The row that frees a unique value and the row that takes it are in one push, in every order.
func TestAUniqueValueMovesWithinOnePush(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.attached(t, "ann")
	must(t, d.Insert("doc", doc("ann", "a", "taken", 1)), d.Sync(t.Context()))
	must(t, d.Delete("doc", "a"), d.Insert("doc", doc("ann", "b", "taken", 2)), d.Sync(t.Context()))
	s.same(t, "ann", d)
	must(t, d.Insert("doc", doc("ann", "c", "taken", 3)), d.Delete("doc", "b"), d.Sync(t.Context()))
	s.same(t, "ann", d)
	// The same key again, after it was deleted: by the device that knows of it, and by one that does not.
	must(t, d.Insert("doc", doc("ann", "b", "again", 4)), d.Sync(t.Context()))
	fresh := s.attached(t, "ann", clientWins)
	must(t, fresh.Insert("doc", doc("ann", "a", "anew", 5)), fresh.Sync(t.Context()), d.Sync(t.Context()))
	s.same(t, "ann", d)
	s.same(t, "ann", fresh)
	if d.Rows("doc")["a"] == "" {
		t.Error("the row did not come back")
	}
}

// Two rows swap their unique values: no order of single statements can do that.
func TestTwoRowsSwapTheirUniqueValues(t *testing.T) {
	t.Parallel()
	s := newSite(t, `ALTER TABLE app.doc DROP CONSTRAINT doc_title_key, ADD CONSTRAINT doc_title_key UNIQUE (title) DEFERRABLE`)
	d := s.attached(t, "ann")
	must(t, d.Insert("doc", doc("ann", "a", "x", 1)), d.Insert("doc", doc("ann", "b", "y", 1)), d.Sync(t.Context()))
	must(t, d.Update("doc", doc("ann", "a", "y", 1)), d.Update("doc", doc("ann", "b", "x", 1)), d.Sync(t.Context()))
	s.same(t, "ann", d)
}
