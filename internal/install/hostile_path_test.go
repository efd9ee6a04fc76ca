package install_test

import (
	"testing"

	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// An installer calls functions of PostgreSQL, and means those of PostgreSQL.
func TestFunctionsOfAStrangerAreNotCalled(t *testing.T) {
	t.Parallel()
	pgtest.WithInstallLock(t, func() {
		for name, way := range ways {
			db := pgtest.Empty(t)
			must(t, db,
				`CREATE TABLE public.caught (what text)`,
				`CREATE FUNCTION public.note(what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (what); RETURN what; END $$`,
				// Better matches than format(text, VARIADIC "any"), which a call of format would mean.
				`CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE sql AS $$ SELECT public.note('format ' || $1) $$`,
				`CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT public.note('format ' || $1) $$`,
				`CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE sql AS $$ SELECT public.note('format ' || $1) $$`,
				`CREATE FUNCTION public.pg_has_role(name, text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT public.note('pg_has_role') <> '' $$`,
				`CREATE FUNCTION public.shobj_description(regrole, name) RETURNS text LANGUAGE sql AS $$ SELECT public.note('shobj_description') $$`,
			)
			if err := way(t, withPath(t, db.URL, "public")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := install.Uninstall(t.Context(), withPath(t, db.URL, "public")); err != nil {
				t.Errorf("uninstall after %s: %v", name, err)
			}
			if caught := query(t, db, `SELECT what FROM public.caught`); len(caught) > 0 {
				t.Errorf("%s ran %q", name, caught)
			}
		}
	})
}
