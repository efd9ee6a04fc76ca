package install_test

import (
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// A view of the user that reads the log is part of the user's schema, which uninstalling leaves as it was.
func TestUninstallingDoesNotDropWhatReadsTheLog(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	must(t, db, `CREATE TABLE public.plain (id int PRIMARY KEY)`, `SELECT tide.register_table('public.plain', bucket => 'global')`,
		`CREATE VIEW public.latest AS SELECT * FROM tide.changes`)
	before := append(everything(t, db), state(t, db)...)
	pgtest.WithInstallLock(t, func() {
		err := install.Uninstall(t.Context(), db.URL)
		if err == nil || !strings.Contains(err.Error(), "in use outside") {
			t.Errorf("got %v, want a refusal", err)
		}
		pgtest.SameCatalog(t, "after a refusal", append(everything(t, db), state(t, db)...), before)
		must(t, db, `DROP VIEW public.latest`)
		if err := install.Uninstall(t.Context(), db.URL); err != nil {
			t.Error(err)
		}
	})
}
