package pushtest

import (
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// A push that is possible in some order is applied, whatever the order of its rows.
func TestOrderOfRows(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*pgtest.DB, *device) {
		db := pgtest.New(t)
		exec(t, db, `
			CREATE SCHEMA app;
			CREATE TABLE app.folder (id int PRIMARY KEY, owner_id text NOT NULL, slug text UNIQUE, parent_id int REFERENCES app.folder);
			CREATE TABLE app.doc (id int PRIMARY KEY, owner_id text NOT NULL, folder_id int NOT NULL REFERENCES app.folder ON DELETE CASCADE, slug text UNIQUE);
			CREATE TABLE app.egg (id int PRIMARY KEY, owner_id text NOT NULL, hen_id int NOT NULL);
			CREATE TABLE app.hen (id int PRIMARY KEY, owner_id text NOT NULL, egg_id int NOT NULL REFERENCES app.egg DEFERRABLE);
			ALTER TABLE app.egg ADD FOREIGN KEY (hen_id) REFERENCES app.hen DEFERRABLE;
			SELECT tide.register_table(t, owner_column => 'owner_id', push_policy => 'owner_only') FROM unnest('{app.doc,app.folder,app.egg,app.hen}'::regclass[]) AS t;`)
		return db, connected(t, db, "ann")
	}
	t.Run("children before parents", func(t *testing.T) {
		_, d := setup(t)
		d.applied(t, insert("doc", 1, `{"folder_id":1}`), insert("folder", 2, `{"parent_id":1}`), insert("folder", 1, `{}`))
	})
	t.Run("parents deleted before children", func(t *testing.T) {
		db, d := setup(t)
		v := d.applied(t, insert("folder", 1, `{}`), insert("folder", 2, `{"parent_id":1}`), insert("doc", 1, `{"folder_id":2}`))
		d.applied(t, remove("folder", 1, v), remove("folder", 2, v), remove("doc", 1, v))
		if n := value[int](t, db, `SELECT count(*) FROM app.folder`); n != 0 {
			t.Errorf("%d folders are left", n)
		}
	})
	t.Run("a row goes and another takes its unique value", func(t *testing.T) {
		_, d := setup(t)
		v := d.applied(t, insert("folder", 1, `{"slug":"a"}`))
		d.applied(t, insert("folder", 2, `{"slug":"a"}`), remove("folder", 1, v))
	})
	t.Run("a row gives its unique value away", func(t *testing.T) {
		_, d := setup(t)
		v := d.applied(t, insert("folder", 1, `{"slug":"a"}`))
		d.applied(t, update("folder", 1, v, `{"slug":"b"}`), insert("folder", 2, `{"slug":"a"}`))
	})
	t.Run("a child moves before its parent goes, which would take it along", func(t *testing.T) {
		db, d := setup(t)
		v := d.applied(t, insert("folder", 1, `{}`), insert("folder", 2, `{}`), insert("doc", 1, `{"folder_id":1}`))
		d.applied(t, remove("folder", 1, v), update("doc", 1, v, `{"folder_id":2}`))
		if n := value[int](t, db, `SELECT folder_id FROM app.doc WHERE id = 1`); n != 2 {
			t.Errorf("the document lies in folder %d", n)
		}
	})
	t.Run("rows that need each other", func(t *testing.T) {
		_, d := setup(t)
		d.applied(t, insert("hen", 1, `{"egg_id":1}`), insert("egg", 1, `{"hen_id":1}`))
		d.refused(t, map[int64]string{0: "23503", 1: "23503"}, insert("hen", 2, `{"egg_id":2}`), insert("egg", 2, `{"hen_id":3}`))
	})
	t.Run("a culprit takes those with it that need it, and no others", func(t *testing.T) {
		_, d := setup(t)
		d.refused(t, map[int64]string{0: "23503", 2: "23503"},
			insert("doc", 1, `{"folder_id":1}`), insert("folder", 3, `{}`), insert("folder", 1, `{"parent_id":99}`), insert("doc", 3, `{"folder_id":3}`))
	})
}
