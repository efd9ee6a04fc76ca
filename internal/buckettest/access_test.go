package buckettest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/pgtest"
)

var teams = []string{`
	CREATE TABLE member (team int, who text, PRIMARY KEY (team, who));
	CREATE TABLE grant_ (project int, team int, PRIMARY KEY (project, team));
	CREATE FUNCTION reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
		SELECT 'project:' || g.project FROM app.grant_ AS g JOIN app.member AS m USING (team) WHERE m.who = $1 $$;
	SELECT tide.set_bucket_access('app.reads');
	SELECT tide.add_access_dependency('member', 'who');
	SELECT tide.add_access_dependency('grant_', 'team', affects => 'SELECT m.who FROM app.member AS m WHERE m.team = changed.team');
	INSERT INTO member VALUES (1, 'ann'), (1, 'bob'), (2, 'cid')`,
	`SELECT tide.seal()`,
}

// heard are the users in whose home bucket the last seal put something.
func heard(t *testing.T, db *pgtest.DB) (users []string) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT coalesce(array_agg(DISTINCT substr(b.bucket_id, 6) ORDER BY substr(b.bucket_id, 6)), '{}') FROM tide.bundle_log AS b
		WHERE b.seal_id = (SELECT max(s.seal_id) FROM tide.seal_log AS s) AND b.bucket_id ~ '^user:'`).Scan(&users); err != nil {
		t.Fatal(err)
	}
	return users
}

// A change of who may read what is heard by the devices of the users concerned, and only theirs.
func TestAccessIsHeardByWhomItConcerns(t *testing.T) {
	t.Parallel()
	db := newApp(t, teams...)
	for _, c := range []struct {
		statement string
		want      []string
	}{
		{`INSERT INTO grant_ VALUES (7, 1)`, []string{"ann", "bob"}},
		{`UPDATE grant_ SET team = 2`, []string{"ann", "bob", "cid"}},
		{`UPDATE grant_ SET project = 8`, []string{"cid"}}, // another key is another row
		{`DELETE FROM grant_`, []string{"cid"}},
		{`UPDATE member SET who = 'dan' WHERE who = 'ann'`, []string{"ann", "dan"}},
		{`INSERT INTO grant_ VALUES (7, 1), (8, 2)`, []string{"bob", "cid", "dan"}},
		{`TRUNCATE grant_`, []string{"bob", "cid", "dan"}},
		{`DELETE FROM member WHERE who = 'bob'`, []string{"bob"}},
	} {
		exec(t, db, c.statement, `SELECT tide.seal()`)
		if got := heard(t, db); !slices.Equal(got, c.want) {
			t.Errorf("%s is heard by %q, want %q", c.statement, got, c.want)
		}
	}
	noFailures(t, db)
}

// A query for the users that raises holds up no seal, and is named until it works again.
func TestQueryForUsersThatRaises(t *testing.T) {
	t.Parallel()
	db := newApp(t, teams...)
	exec(t, db, `ALTER TABLE member RENAME TO members`, `INSERT INTO grant_ VALUES (7, 1)`, `SELECT tide.seal()`)
	if got := findings(t, db); !strings.Contains(got, "whose access changed cannot be told") {
		t.Errorf("tide.check() says %q", got)
	}
	exec(t, db, `ALTER TABLE members RENAME TO member`, `SELECT tide.retry_bucket_failures()`, `SELECT tide.seal()`, `INSERT INTO grant_ VALUES (8, 1)`, `SELECT tide.seal()`)
	if got := heard(t, db); !slices.Equal(got, []string{"ann", "bob"}) {
		t.Errorf("heard by %q", got)
	}
	noFailures(t, db)
	for _, bad := range []string{
		`SELECT tide.add_access_dependency('member', 'team, who')`,
		`SELECT tide.add_access_dependency('grant_', 'team', affects => 'SELECT who FROM app.nowhere')`,
		`SELECT tide.add_access_dependency('grant_', 'team', affects => 'SELECT m.who FROM app.member AS m WHERE m.team = changed.project')`,
	} {
		var refused *pgconn.PgError
		if _, err := db.Exec(t.Context(), bad); !errors.As(err, &refused) || refused.Code != "TD022" {
			t.Errorf("%s: %v, want TD022", bad, err)
		}
	}
}

// Tables whose buckets would come from each other are refused; a function may look at a table whose rows
// lie where its own do.
func TestCircles(t *testing.T) {
	t.Parallel()
	db := newApp(t, `
		CREATE TABLE a (id int PRIMARY KEY, b_id int, owner text);
		CREATE TABLE b (id int PRIMARY KEY, a_id int);
		CREATE TABLE c (id int PRIMARY KEY, b_id int);
		SELECT tide.register_table('a', owner_column => 'owner');
		SELECT tide.register_table('b', parent => 'a', parent_fk => 'a_id');
		SELECT tide.register_table('c', parent => 'b', parent_fk => 'b_id')`)
	for _, table := range []string{"b", "c"} {
		var refused *pgconn.PgError
		if _, err := db.Exec(t.Context(), `SELECT tide.register_table('a', parent => '`+table+`', parent_fk => 'b_id')`); !errors.As(err, &refused) || refused.Code != "TD020" {
			t.Errorf("a below %s: %v, want TD020", table, err)
		}
	}
	exec(t, db, `
		CREATE TABLE share (a_id int, who text, PRIMARY KEY (a_id, who));
		CREATE FUNCTION a_buckets(a a) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT array_agg('user:' || s.who) FROM app.share AS s WHERE s.a_id = a.id $$;
		SELECT tide.register_table('a', bucket_function => 'app.a_buckets');
		SELECT tide.add_bucket_dependency('a', on_table => 'share', columns => 'a_id');
		SELECT tide.register_table('share', parent => 'a', parent_fk => 'a_id')`, `SELECT tide.seal()`,
		`INSERT INTO a VALUES (1); INSERT INTO share VALUES (1, 'ann'), (1, 'bob')`)
	ann := newDevice(db, "user:ann")
	ann.expect(t, "a 1", "share 1,ann", "share 1,bob")
	exec(t, db, `DELETE FROM share WHERE who = 'ann'`)
	ann.expect(t)
	newDevice(db, "user:bob").expect(t, "a 1", "share 1,bob")
}

// What tide.check() says of rules: no index, and stored buckets that a rule no longer gives.
func TestFindingsAboutRules(t *testing.T) {
	t.Parallel()
	db := newApp(t, altering...)
	exec(t, db, `SELECT tide.seal()`)
	if got := findings(t, db); got != "" {
		t.Errorf("when all is well: %q", got)
	}
	exec(t, db, `DROP INDEX task_project_id_idx, note_task_id_idx`,
		`CREATE OR REPLACE FUNCTION note_buckets(n note) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT ARRAY['user:' || upper(t.title)] FROM app.task AS t WHERE t.id = n.task_id $$`)
	got := findings(t, db)
	for _, want := range []string{"CREATE INDEX CONCURRENTLY ON app.task (project_id)", "CREATE INDEX CONCURRENTLY ON app.note (task_id)", "rows lie in other buckets than the rule says", "1 of 1 rows"} {
		if !strings.Contains(got, want) {
			t.Errorf("tide.check() says %q, not %q", got, want)
		}
	}
	exec(t, db, `CREATE INDEX ON task (project_id, id); CREATE INDEX ON note (task_id); SELECT tide.rebucket('note')`, `SELECT tide.seal()`)
	if got := findings(t, db); got != "" {
		t.Errorf("after the remedies: %q", got)
	}
}

// A function may look at any column of the tables that are declared, not only at those that say which rows, or
// users, a change is about: of a table that devices get, of one that none gets, and of who reads what.
func TestUpdatesOfWhatFunctionsLookAt(t *testing.T) {
	t.Parallel()
	db := newApp(t, `
		CREATE TABLE paper (id int PRIMARY KEY, title text, hidden boolean);
		CREATE TABLE share (paper_id int, who text, role text, note text, PRIMARY KEY (paper_id, who));
		CREATE TABLE topic (paper_id int PRIMARY KEY, org text);
		CREATE TABLE member (who text PRIMARY KEY, active boolean);
		CREATE FUNCTION paper_buckets(p paper) RETURNS text[] LANGUAGE sql STABLE AS $$
			SELECT ARRAY(SELECT s.role || ':' || s.who FROM app.share AS s WHERE s.paper_id = p.id AND s.note IS NULL) || ARRAY(SELECT 'org:' || t.org FROM app.topic AS t WHERE t.paper_id = p.id AND p.hidden IS NOT TRUE) $$;
		CREATE FUNCTION reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE AS $$ SELECT 'user:' || m.who FROM app.member AS m WHERE m.who = user_id AND m.active $$;
		INSERT INTO paper VALUES (1, 'one'); INSERT INTO share VALUES (1, 'eve', 'editor'); INSERT INTO topic VALUES (1, 'red'); INSERT INTO member VALUES ('eve', true);
		SELECT tide.register_table('paper', bucket_function => 'app.paper_buckets', sync_columns => '{id,title}');
		SELECT tide.register_table('share', parent => 'paper', parent_fk => 'paper_id', exclude_columns => '{note}');
		SELECT tide.add_bucket_dependency('paper', on_table => 'share', columns => 'paper_id');
		SELECT tide.add_bucket_dependency('paper', on_table => 'topic', columns => 'paper_id');
		SELECT tide.set_bucket_access('app.reads');
		SELECT tide.add_access_dependency('member', 'who')`, `SELECT tide.seal()`)
	for _, c := range []struct{ statement, want string }{
		{`UPDATE share SET role = 'viewer'`, "{org:red,viewer:eve}"},
		{`UPDATE share SET note = 'withdrawn'`, "{org:red}"},
		{`UPDATE topic SET org = 'blue'`, "{org:blue}"},
		{`UPDATE paper SET hidden = true`, "{}"},
		{`UPDATE share SET note = NULL; UPDATE paper SET hidden = false`, "{org:blue,viewer:eve}"},
	} {
		exec(t, db, c.statement, `SELECT tide.seal()`)
		for _, table := range []string{"paper", "share"} {
			var got string
			if err := db.QueryRow(t.Context(), `SELECT coalesce(array_agg(m.bucket_id ORDER BY m.bucket_id)::text, '{}') FROM tide.membership AS m JOIN tide.synced_table AS s USING (table_id) WHERE s.relation = $1::text::regclass`, table).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("%s: %s lies in %s, want %s", c.statement, table, got, c.want)
			}
		}
	}
	exec(t, db, `UPDATE member SET active = false`, `SELECT tide.seal()`)
	if got := heard(t, db); !slices.Contains(got, "eve") {
		t.Errorf("of what she may read no more heard %q", got)
	}
}

// What no dependency tells of is judged when somebody says so: the rows that a filter names, or all.
func TestRebucketByHand(t *testing.T) {
	t.Parallel()
	db := newApp(t, altering...)
	exec(t, db, `INSERT INTO note VALUES (2, 1, 'n')`)
	zoe, yan := newDevice(db, "user:zoe"), newDevice(db, "user:yan")
	zoe.expect(t, "note 1", "note 2")
	exec(t, db, `CREATE OR REPLACE FUNCTION note_buckets(n note) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT '{user:yan}'::text[] $$`)
	zoe.expect(t, "note 1", "note 2")
	exec(t, db, `SELECT tide.rebucket('note', 'id = 1')`)
	zoe.expect(t, "note 2")
	yan.expect(t, "note 1")
	exec(t, db, `SELECT tide.rebucket('note')`)
	zoe.expect(t)
	yan.expect(t, "note 1", "note 2")
	noFailures(t, db)
	for _, bad := range []string{`SELECT tide.rebucket('project')`, `SELECT tide.rebucket('note', 'nothing = 1')`} {
		if _, err := db.Exec(t.Context(), bad); err == nil {
			t.Errorf("%s is not refused", bad)
		}
	}
}
