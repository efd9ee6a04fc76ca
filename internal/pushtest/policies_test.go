package pushtest

import (
	"context"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// A table whose own policies decide, in the style of Supabase: pushes run as the client, see what the
// policies show, and write what they let.
func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app; CREATE SCHEMA auth;
		CREATE FUNCTION auth.uid() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::json ->> 'sub' $$;
		CREATE TABLE app.note (id serial PRIMARY KEY, owner_id text NOT NULL, shared_with text, body text CHECK (body <> 'bad'), parent_id int REFERENCES app.note);
		ALTER TABLE app.note ENABLE ROW LEVEL SECURITY;
		CREATE POLICY mine ON app.note USING (owner_id = (SELECT auth.uid())) WITH CHECK (owner_id = (SELECT auth.uid()) AND body <> 'forbidden');
		CREATE POLICY shared ON app.note FOR SELECT USING (shared_with = (SELECT auth.uid()));
		INSERT INTO app.note VALUES (1, 'ann', NULL, 'hers'), (2, 'bob', NULL, 'his'), (3, 'bob', 'ann', 'shown to her');
		SELECT setval('app.note_id_seq', 100);
		GRANT USAGE ON SCHEMA auth TO tide_client;
		SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'rls')`)
	d := connected(t, db, "ann")
	exec(t, db, `INSERT INTO app.note VALUES (50, 'ann', NULL, 'x')`)
	exec(t, db, `SELECT tide.seal()`)
	version := value[int64](t, db, `SELECT head_seq FROM tide.bucket_position('user:ann')`)

	version = d.applied(t, update("note", 1, version, `{"body":"changed"}`), insert("note", 10, `{"body":"new"}`))
	if got := value[string](t, db, `SELECT string_agg(owner_id || ' ' || body, ', ' ORDER BY id) FROM app.note WHERE id IN (1, 10)`); got != "ann changed, ann new" {
		t.Errorf("the rows are %s", got)
	}
	for name, c := range map[string]struct {
		row  row
		want string
	}{
		"a row of somebody else":               {update("note", 2, version, `{"body":"stolen"}`), "conflict"},
		"deleting a row of somebody else":      {remove("note", 2, version), "conflict"},
		"a row that may only be read":          {update("note", 3, version, `{"body":"stolen"}`), "42501"},
		"deleting a row that may only be read": {remove("note", 3, version), "42501"},
		"what the policy forbids":              {update("note", 1, version, `{"body":"forbidden"}`), "42501"},
		"a row given to somebody else":         {update("note", 1, version, `{"owner_id":"bob"}`), "42501"},
		"a row inserted for somebody else":     {insert("note", 11, `{"owner_id":"bob","body":"x"}`), "42501"},
		"a child of a row nobody shows her":    {insert("note", 12, `{"body":"x","parent_id":2}`), "23503"},
		"a child of a row there is not":        {insert("note", 12, `{"body":"x","parent_id":999}`), "23503"},
		"a check":                              {update("note", 1, version, `{"body":"bad"}`), "23514"},
	} {
		a := d.push(t.Context(), c.row)
		got := a.Status + a.Code
		if got == "rejected" {
			got = a.Rejected[0].SQLState
		}
		if got != c.want {
			t.Errorf("%s: %+v, want %s", name, a, c.want)
		}
		if len(a.Conflicts) > 0 && (a.Conflicts[0].Version != 0 || a.Conflicts[0].Deleted || string(a.Conflicts[0].Row) != "null") {
			t.Errorf("%s: the conflict tells of it: %+v", name, a.Conflicts[0])
		}
	}
	d.applied(t, insert("note", 12, `{"body":"x","parent_id":10}`), insert("note", 13, `{"body":"x","parent_id":12}`))
	if role := value[string](t, db, `SELECT current_user`); role == "tide_client" {
		t.Error("the connection stays the client")
	}
}

// Where policies are for another role than tide_client, pushes run as that one, once the table is registered again.
func TestPoliciesForAnotherRole(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, pgtest.Private(t, pgtest.ClusterConfig{})) // roles belong to all databases
	exec(t, db, `
		CREATE ROLE authenticated; GRANT authenticated TO tide_runtime;
		CREATE SCHEMA app;
		CREATE TABLE app.note (id int PRIMARY KEY, owner_id text, body text); ALTER TABLE app.note ENABLE ROW LEVEL SECURITY;
		CREATE POLICY mine ON app.note TO authenticated USING (owner_id = current_setting('app.user_id', true));
		SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'rls')`)
	d := connected(t, db, "ann")
	d.refused(t, map[int64]string{0: "42501"}, insert("note", 1, `{"body":"x"}`))
	exec(t, db, `UPDATE tide.setting SET client_role = 'authenticated'; SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'rls')`)
	d.applied(t, insert("note", 1, `{"body":"x"}`))
}

// A row that lies in no bucket of the device would never come back to it.
func TestRowsElsewhere(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		CREATE TABLE app.news (id int PRIMARY KEY, body text);
		ALTER TABLE app.news ENABLE ROW LEVEL SECURITY;
		CREATE POLICY anybody ON app.news USING (true);
		SELECT tide.register_table('app.news', bucket => 'global', push_policy => 'rls')`)
	connected(t, db, "ann").refused(t, map[int64]string{0: "TD103"}, insert("news", 1, `{"body":"x"}`))
}

// What a policy needs is said when a table is registered.
func TestPolicyOfATable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app; CREATE SCHEMA open; GRANT CREATE ON SCHEMA open TO PUBLIC;
		CREATE TABLE app.a (id int PRIMARY KEY, owner_id text, org text);
		CREATE TABLE app.b (id int PRIMARY KEY, owner_id text); ALTER TABLE app.b ENABLE ROW LEVEL SECURITY`)
	for call, want := range map[string]string{
		`'app.a', owner_column => 'owner_id', push_policy => 'everybody'`:                                   "TD006",
		`'app.a', bucket => 'global', push_policy => 'owner_only'`:                                          "TD006",
		`'app.a', owner_column => 'org', bucket_prefix => 'org:', push_policy => 'owner_only'`:              "TD006",
		`'app.b', owner_column => 'owner_id', push_policy => 'owner_only'`:                                  "TD006",
		`'app.a', owner_column => 'owner_id', push_policy => 'rls'`:                                         "TD006",
		`'app.a', owner_column => 'owner_id', push_policy => 'owner_only', push_search_path => 'open, app'`: "TD006",
		`'app.a', owner_column => 'owner_id', protected_columns => '{nope}'`:                                "TD003",
		`'app.a', owner_column => 'owner_id', push_policy => 'owner_only', push_search_path => 'app'`:       "",
	} {
		if got := code(t, db, `SELECT tide.register_table(`+call+`)`); got != want {
			t.Errorf("%s: %q, want %q", call, got, want)
		}
	}
}

// Triggers of the application find what they leave unqualified, and run as who may do so.
func TestTriggersOfTheApplication(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		CREATE TABLE app.note (id int PRIMARY KEY, owner_id text, body text, pushed_by text);
		CREATE TABLE app.audit (note_id int, by_user text);
		GRANT INSERT ON app.audit TO tide_owner;
		CREATE FUNCTION app.tidy(text) RETURNS text LANGUAGE sql AS $$ SELECT trim($1) $$;
		CREATE FUNCTION app.watch() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			NEW.body := tidy(NEW.body);
			NEW.pushed_by := current_setting('app.user_id') || ' ' || (current_setting('request.jwt.claims')::json ->> 'sub');
			INSERT INTO audit VALUES (NEW.id, current_setting('app.user_id'));
			RETURN NEW;
		END $$;
		CREATE TRIGGER watch BEFORE INSERT OR UPDATE ON app.note FOR EACH ROW EXECUTE FUNCTION app.watch();
		SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'owner_only', push_search_path => 'app, public')`)
	d := connected(t, db, "ann")
	d.applied(t, insert("note", 1, `{"body":"  x "}`))
	if got := value[string](t, db, `SELECT concat_ws('|', body, pushed_by, (SELECT by_user FROM app.audit)) FROM app.note`); got != "x|ann ann|ann" {
		t.Errorf("the trigger left %s", got)
	}
}

// Whoever is the client by SQL, with the identity of ann, reads and writes nothing of bob, nor anything of tide.
func TestClientBySQL(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	exec(t, db, `
		CREATE TABLE app.plan (id int PRIMARY KEY, owner_id text, body text); ALTER TABLE app.plan ENABLE ROW LEVEL SECURITY;
		CREATE POLICY mine ON app.plan USING (owner_id = current_setting('app.user_id', true));
		SELECT tide.register_table('app.plan', owner_column => 'owner_id', push_policy => 'rls');
		INSERT INTO app.note VALUES (1, 'bob', 1, 'secret of bob'); INSERT INTO app.plan VALUES (1, 'bob', 'secret of bob')`)
	connected(t, db, "bob")
	connected(t, db, "ann")
	conn := db.Connect(t, db.URL)
	run := func(sql string) (string, error) {
		results, err := conn.PgConn().Exec(context.Background(), sql).ReadAll()
		var text strings.Builder
		for _, r := range results {
			for _, row := range r.Rows {
				for _, column := range row {
					text.Write(column)
				}
			}
		}
		return text.String(), err
	}
	if _, err := run(`SET ROLE tide_client; SET app.user_id = 'ann'; SET request.jwt.claims = '{"sub":"ann"}'`); err != nil {
		t.Fatal(err)
	}
	relations := value[[]string](t, db, `SELECT array_agg(c.oid::regclass::text ORDER BY 1) FROM pg_class AS c WHERE c.relnamespace IN ('tide'::regnamespace, 'app'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'S')`)
	for _, relation := range relations {
		if text, err := run(`SELECT * FROM ` + relation); err == nil && (text != "" || relation != "app.plan") {
			t.Errorf("the client reads %s: %.80q", relation, text)
		}
	}
	functions := value[[]string](t, db, `SELECT array_agg(p.oid::regprocedure::text ORDER BY 1) FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND has_function_privilege('tide_client', p.oid, 'EXECUTE')`)
	for _, function := range functions {
		if !strings.HasPrefix(function, "tide.push_2_") {
			t.Errorf("the client may execute %s", function)
		}
	}
	for sql, harmless := range map[string]bool{
		`UPDATE app.plan SET body = 'x'`:              true,
		`DELETE FROM app.plan`:                        true,
		`INSERT INTO app.plan VALUES (2, 'bob', 'x')`: false,
		`INSERT INTO app.note VALUES (2, 'ann')`:      false,
		`SELECT tide.push('bob', 'x', 1, '[]')`:       false,
		`SELECT tide.pull('user:bob')`:                false,
		`SELECT * FROM tide.push_2_image(ARRAY[ROW(0,2,'U',0,0,'{"id":"1"}','{"id":"1"}','{}','{}',true,true)::tide.pushed_row], 'bob')`:                   true,
		`SELECT tide.push_2_update(ARRAY[ROW(0,2,'U',0,0,'{"id":"1"}','{"id":"1"}','{"body":"x"}','{body}',true,true)::tide.pushed_row], 'bob')`:           true,
		`SELECT tide.push_2_insert(ARRAY[ROW(0,2,'I',0,0,'{"id":"9"}','{"id":"9"}','{"owner_id":"bob"}','{owner_id}',true,true)::tide.pushed_row], 'bob')`: false,
	} {
		text, err := run(sql)
		if (err == nil) != harmless || strings.Contains(text, "secret") {
			t.Errorf("%s: %v %q", sql, err, text)
		}
	}
	if got := value[string](t, db, `SELECT string_agg(body, ',') FROM (SELECT body FROM app.note UNION ALL SELECT body FROM app.plan) AS b`); got != "secret of bob,secret of bob" {
		t.Errorf("the rows of bob are %s", got)
	}
}
