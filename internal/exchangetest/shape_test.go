package exchangetest

import (
	"errors"
	"testing"

	"github.com/pgtide/pgtide/internal/v1client"
)

// An installed device goes on as tables and columns are added, which do not reach it; a newer one gets them.
func TestAnOldDeviceKeepsTheTablesItCameWith(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	old := s.attached(t, "ann")
	must(t, old.Insert("doc", `{"id":"a","owner_id":"ann","title":"one","n":1}`))
	if err := old.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.exec(t, `ALTER TABLE app.doc ADD COLUMN color text DEFAULT 'red'`, `SELECT tide.refresh('app.doc')`,
		`CREATE TABLE app.tag (id text PRIMARY KEY, owner_id text NOT NULL, doc_id text REFERENCES app.doc)`,
		`SELECT tide.register_table('app.tag', owner_column => 'owner_id', push_policy => 'owner_only')`,
		// A trigger that writes to the new table whenever a document is written: it joins the device's own bundle.
		`CREATE FUNCTION app.tag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO app.tag VALUES (NEW.id || NEW.n, NEW.owner_id, NEW.id); RETURN NEW; END $$`,
		`CREATE TRIGGER tag AFTER INSERT OR UPDATE ON app.doc FOR EACH ROW EXECUTE FUNCTION app.tag()`,
		`GRANT INSERT ON app.tag TO tide_owner`,
		`SELECT tide.refresh('app.doc')`, `SELECT tide.seal()`,
		`INSERT INTO app.tag VALUES ('x', 'ann', 'a')`)
	must(t, old.Update("doc", `{"id":"a","owner_id":"ann","title":"two","n":2}`))
	must(t, old.Insert("doc", `{"id":"b","owner_id":"ann","title":"three","n":3}`))
	if err := old.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	newer := s.attached(t, "ann", func(c *v1client.Config) {
		c.Tables = []v1client.Table{
			{Name: "doc", Key: []string{"id"}, Columns: []string{"id", "owner_id", "title", "n", "color"}},
			tables[1],
			{Name: "tag", Key: []string{"id"}, Columns: []string{"id", "owner_id", "doc_id"}},
		}
	})
	must(t, newer.Update("doc", `{"id":"b","owner_id":"ann","title":"four","n":4,"color":"blue"}`))
	for _, d := range []*v1client.Device{newer, old} {
		if err := d.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := old.Rows("doc")["b"]; got != `{"id":"b","owner_id":"ann","title":"four","n":4}` {
		t.Errorf("the old device holds %s", got)
	}
	if got := newer.Rows("doc")["a"]; got != `{"id":"a","owner_id":"ann","title":"two","n":2,"color":"red"}` {
		t.Errorf("the newer device holds %s", got)
	}
	if n := len(newer.Rows("tag")); n != 4 {
		t.Errorf("the newer device holds %d tags", n)
	}
	if err := old.Rebuild(t.Context(), "history_pruned"); err != nil {
		t.Fatal(err)
	}
	if got := old.Rows("doc")["b"]; got != `{"id":"b","owner_id":"ann","title":"four","n":4}` {
		t.Errorf("rebuilt, under another name, the old device holds %s", got)
	}

	// What it knows goes away: it is sent to a snapshot.
	s.exec(t, `SELECT tide.unregister_table('app.note')`, `UPDATE app.doc SET n = 9 WHERE id = 'a'`, `SELECT tide.seal()`)
	var refused *v1client.APIError
	if err := old.Pull(t.Context()); !errors.As(err, &refused) || refused.Code != "history_pruned" {
		t.Errorf("a table is gone: %v", err)
	}
	if err := old.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := old.Rows("doc")["a"]; got != `{"id":"a","owner_id":"ann","title":"two","n":9}` {
		t.Errorf("then the old device holds %s", got)
	}
}
