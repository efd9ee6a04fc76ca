package logtest

import (
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// What every object of schema tide must have, read from the catalog.
func TestConventions(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup, `
		CREATE TABLE app.part (id int PRIMARY KEY, owner text) PARTITION BY RANGE (id);
		CREATE TABLE app.part_low PARTITION OF app.part FOR VALUES FROM (0) TO (9);
		CREATE TABLE app.ruled (id int PRIMARY KEY, owner text);
		ALTER TABLE app.ruled ENABLE ROW LEVEL SECURITY;
		CREATE POLICY own ON app.ruled USING (owner = current_setting('app.user_id', true));
		SELECT tide.register_table('app.part', owner_column => 'owner', push_policy => 'owner_only', push_search_path => 'app');
		SELECT tide.register_table('app.ruled', owner_column => 'owner', push_policy => 'rls')`)
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
		   AND NOT coalesce(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']
		   AND p.proname !~ '^push_[0-9]+_(lock|insert|update|delete)$'`)
	// They look at every table, and estimates grow with each: compiled, a call takes minutes in place of a second.
	none(t, db, "functions that register, maintain and describe, whose queries the server may compile", `
		SELECT f.name
		  FROM unnest('{register_table,unregister_table,refresh,resume,maintain,check,client_schema,enable_rls,disable_rls,
		                policies_sql,set_bucket_access,why_bucket,renew_push_functions}'::text[]) AS f (name)
		 WHERE NOT EXISTS (SELECT FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND p.proname = f.name AND p.proconfig @> ARRAY['jit=off'])`)
	// After one large transaction the planner takes every other for as large. A push once began two workers to count its own rows.
	none(t, db, "functions with one plan for every log, small or large, that may begin parallel workers", `
		SELECT p.oid::regprocedure FROM pg_proc AS p
		 WHERE p.pronamespace = 'tide'::regnamespace AND p.proconfig @> ARRAY['plan_cache_mode=force_generic_plan']
		   AND NOT p.proconfig @> ARRAY['max_parallel_workers_per_gather=0'] AND p.proname !~ '^push_[0-9]+_'`)
	none(t, db, "relations that PUBLIC, tide_runtime or tide_client may write", `
		SELECT c.relname, r FROM pg_class AS c, unnest(ARRAY['public', 'tide_runtime', 'tide_client']) AS r
		 WHERE c.relnamespace = 'tide'::regnamespace AND c.relkind IN ('r', 'p', 'v')
		   AND has_table_privilege(r, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
		   AND NOT (r = 'tide_runtime' AND c.relname = 'seal_lock' AND NOT has_table_privilege(r, c.oid, 'INSERT, DELETE, TRUNCATE'))`)
	none(t, db, "raw tables that tide_runtime or tide_client may read", `
		SELECT c.relname, r FROM pg_class AS c, unnest(ARRAY['tide_runtime', 'tide_client']) AS r
		 WHERE c.relnamespace = 'tide'::regnamespace AND c.relkind IN ('r', 'p') AND has_table_privilege(r, c.oid, 'SELECT')`)

	// What registering wrote: four functions that capture each table, six for each that takes pushes. Those
	// that run what an application wrote (triggers, policies) run it in its own path.
	const written = `(SELECT p.*, p.proname LIKE 'push%' AS pushes, s.push_policy
		  FROM pg_proc AS p JOIN tide.synced_table AS s ON p.proname ~ ('^(capture|push)_' || s.table_id || '_') WHERE p.pronamespace = 'tide'::regnamespace)`
	if n := value[int](t, db, `SELECT count(*)::int FROM `+written+` AS p`); n != 3*4+2*6 {
		t.Errorf("registering three tables wrote %d functions", n)
	}
	none(t, db, "pushes to a table whose search_path is not pinned, or has schemas in which anybody may create functions", `
		SELECT p.proname, c.setting FROM `+written+` AS p LEFT JOIN unnest(p.proconfig) AS c (setting) ON c.setting LIKE 'search_path=%'
		 WHERE p.pushes
		   AND (c.setting IS NULL OR c.setting !~ '[=,] ?pg_temp$'
		        OR EXISTS (SELECT FROM unnest(tide.push_schemas(substr(c.setting, 13))) AS s WHERE has_schema_privilege('public', s, 'CREATE')))`)
	none(t, db, "written functions that do not run as they should: as their owner, or as the role whose policies decide", `
		SELECT p.proname FROM `+written+` AS p WHERE p.prosecdef <> (NOT p.pushes OR p.push_policy = 'owner_only')`)
	none(t, db, "written functions that a role may call without need", `
		SELECT p.proname, r FROM `+written+` AS p, unnest(ARRAY['tide_runtime', 'tide_client']) AS r
		 WHERE has_function_privilege(r, p.oid, 'EXECUTE') AND NOT (p.pushes AND (r = 'tide_runtime' OR p.push_policy = 'rls'))`)
}
