package main

import (
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// The sealing process needs no more than tide_runtime has.
func TestSealingAsTheRuntime(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	pgtest.WithInstallLock(t, func() { // roles belong to all databases
		must(t, db, `CREATE ROLE sealing_runtime LOGIN IN ROLE tide_runtime`, `INSERT INTO app.item VALUES (1, 1, 'x')`)
		defer must(t, db, `DROP ROLE sealing_runtime`)
		if got := pgtide(t, db.As("sealing_runtime"), "seal"); got.code != 0 || got.errors != "" || bundles(t, db) != 1 {
			t.Errorf("got %+v", got)
		}
	})
}
