package logtest

import (
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// What every object of schema tide must have, read from the catalog.
func TestConventions(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	none(t, db, "functions without a comment", `
		SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL`)
	none(t, db, "tables and views without a comment", `
		SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'tide'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
		   AND NOT c.relispartition AND obj_description(c.oid, 'pg_class') IS NULL
		   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i' AND c.relkind = 'S')`)
	none(t, db, "objects that tide_owner does not own", `
		SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'tide'::regnamespace AND c.relowner <> 'tide_owner'::regrole
		 UNION ALL SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND p.proowner <> 'tide_owner'::regrole`)
	none(t, db, "functions that PUBLIC may execute", `
		SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')`)
	none(t, db, "functions with a text body whose search_path is not pinned", `
		SELECT p.oid::regprocedure FROM pg_proc AS p
		 WHERE p.pronamespace = 'tide'::regnamespace AND p.prosqlbody IS NULL
		   AND NOT coalesce(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']`)
	none(t, db, "relations that PUBLIC, tide_runtime or tide_client may write", `
		SELECT c.relname, r FROM pg_class AS c, unnest(ARRAY['public', 'tide_runtime', 'tide_client']) AS r
		 WHERE c.relnamespace = 'tide'::regnamespace AND c.relkind IN ('r', 'p', 'v')
		   AND has_table_privilege(r, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
		   AND NOT (r = 'tide_runtime' AND c.relname = 'seal_lock' AND NOT has_table_privilege(r, c.oid, 'INSERT, DELETE, TRUNCATE'))`)
	none(t, db, "raw tables that tide_runtime or tide_client may read", `
		SELECT c.relname, r FROM pg_class AS c, unnest(ARRAY['tide_runtime', 'tide_client']) AS r
		 WHERE c.relnamespace = 'tide'::regnamespace AND c.relkind IN ('r', 'p') AND has_table_privilege(r, c.oid, 'SELECT')`)
}
