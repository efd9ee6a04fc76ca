package exchangetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/pgtide/pgtide/internal/v1client"
)

// Comments go where their document goes, and may be written by whoever reads them.
var derived = []string{
	`CREATE TABLE app.comment (id text PRIMARY KEY, doc_id text NOT NULL REFERENCES app.doc ON DELETE CASCADE, body text)`,
	`CREATE INDEX ON app.comment (doc_id)`,
	`SELECT tide.register_table('app.comment', parent => 'app.doc', parent_fk => 'doc_id')`,
	`SELECT tide.enable_rls('app.comment')`,
	`SELECT tide.register_table('app.comment', parent => 'app.doc', parent_fk => 'doc_id', push_policy => 'rls')`,
	`SELECT tide.seal()`,
}

func withComments(c *v1client.Config) {
	c.Tables = slices.Concat(tables, []v1client.Table{{Name: "comment", Key: []string{"id"}, Columns: []string{"id", "doc_id", "body"}}})
}

func comment(id, doc, body string) string {
	return fmt.Sprintf(`{"id":%q,"doc_id":%q,"body":%q}`, id, doc, body)
}

// sameComments compares the comments of devices with what the table says of their user.
func (s *site) sameComments(t *testing.T, user string, devices ...*v1client.Device) {
	t.Helper()
	s.exec(t, `SELECT tide.seal()`)
	for _, d := range devices {
		must(t, d.Sync(t.Context()))
	}
	want := value[map[string]string](t, s, `SELECT coalesce(jsonb_object_agg(c.id, row_to_json(c)::text), '{}') FROM app.comment AS c JOIN app.doc AS d ON d.id = c.doc_id WHERE d.owner_id = $1`, user)
	for i, d := range devices {
		got := d.Rows("comment")
		for id := range want {
			if got[id] != want[id] {
				t.Errorf("device %d of %s has of comment %s %q, the table has %q", i, user, id, got[id], want[id])
			}
		}
		if len(got) != len(want) {
			t.Errorf("device %d of %s holds %d comments, the table has %d: %v", i, user, len(got), len(want), got)
		}
	}
}

func TestChildrenFollowTheirParentFromDeviceToDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t, derived...)
	ann, tablet, bob := s.attached(t, "ann", withComments), s.attached(t, "ann", withComments), s.attached(t, "bob", withComments)

	// A document and its comments in one push.
	must(t, ann.Insert("doc", doc("ann", "a", "a", 1)), ann.Insert("comment", comment("1", "a", "one")), ann.Insert("comment", comment("2", "a", "two")))
	must(t, bob.Insert("doc", doc("bob", "b", "b", 1)))
	s.sameComments(t, "ann", ann, tablet)
	s.sameComments(t, "bob", bob)

	must(t, tablet.Update("comment", comment("1", "a", "one, edited")), tablet.Delete("comment", "2"))
	s.sameComments(t, "ann", tablet, ann)

	// The document goes to somebody else, while a transaction that adds a comment to it is open.
	open, err := s.db.Begin(t.Context())
	must(t, err)
	defer func() { _ = open.Rollback(t.Context()) }() // it was committed
	_, err = open.Exec(t.Context(), `INSERT INTO app.comment VALUES ('3', 'a', 'from psql')`)
	must(t, err)
	s.exec(t, `UPDATE app.doc SET n = 2 WHERE id = 'b'`)
	s.sameComments(t, "ann", ann)
	must(t, open.Commit(t.Context()))
	s.exec(t, `UPDATE app.doc SET owner_id = 'bob' WHERE id = 'a'`)
	s.sameComments(t, "ann", ann, tablet)
	s.sameComments(t, "bob", bob, s.attached(t, "bob", withComments))
	if n := len(bob.Rows("comment")); n != 2 {
		t.Errorf("bob holds %d comments", n)
	}
	s.exec(t, `DELETE FROM app.doc WHERE id = 'a'`)
	s.sameComments(t, "bob", bob)
}

func TestACommentOnADocumentOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, append(derived, `INSERT INTO app.doc VALUES ('b', 'bob', 'b', 1)`, `INSERT INTO app.comment VALUES ('1', 'b', 'his')`, `SELECT tide.seal()`)...)
	ann := s.attached(t, "ann", withComments)
	must(t, ann.Insert("doc", doc("ann", "a", "a", 1)), ann.Insert("comment", comment("2", "b", "mine")))
	var rejected *v1client.RejectedError
	if err := ann.Push(t.Context()); !errors.As(err, &rejected) || len(rejected.Rows) != 1 || rejected.Rows[0].Key != "2" {
		t.Fatalf("pushed: %v", err)
	}
	must(t, ann.Discard("comment", "2"), ann.Sync(t.Context()))
	if n := value[int](t, s, `SELECT count(*)::int FROM app.comment`); n != 1 || len(ann.Rows("comment")) != 0 {
		t.Errorf("the table has %d comments, ann holds %v", n, ann.Rows("comment"))
	}
}
