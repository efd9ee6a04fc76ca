package buckettest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// A product in small: a chain of parents, a tree, a rule of the row beside a parent, and a function
// over two other tables, one of which no device gets.
const schema = `
	CREATE TABLE project (id int PRIMARY KEY, owner text, title text);
	CREATE TABLE folder  (id int PRIMARY KEY, parent_id int REFERENCES folder ON DELETE CASCADE, project_id int REFERENCES project ON DELETE SET NULL, title text);
	CREATE TABLE doc     (id int PRIMARY KEY, folder_id int REFERENCES folder ON DELETE CASCADE, author text NOT NULL, title text, deleted_at timestamptz);
	CREATE TABLE comment (id int PRIMARY KEY, doc_id int NOT NULL REFERENCES doc ON DELETE CASCADE, title text);
	CREATE TABLE team    (id int PRIMARY KEY, org text NOT NULL);
	CREATE TABLE share   (doc_id int NOT NULL REFERENCES doc ON DELETE CASCADE, team_id int NOT NULL REFERENCES team, PRIMARY KEY (doc_id, team_id), note text);
	CREATE TABLE paper   (id int PRIMARY KEY, doc_id int NOT NULL REFERENCES doc ON DELETE CASCADE, title text);
	CREATE INDEX ON folder (parent_id); CREATE INDEX ON folder (project_id); CREATE INDEX ON doc (folder_id);
	CREATE INDEX ON comment (doc_id); CREATE INDEX ON share (team_id); CREATE INDEX ON paper (doc_id);

	-- A paper goes to the organisations of the teams that its document is shared with.
	CREATE FUNCTION paper_buckets(p paper) RETURNS text[] LANGUAGE sql STABLE AS $$
		SELECT array_agg(DISTINCT 'org:' || t.org) FROM app.share AS s JOIN app.team AS t ON t.id = s.team_id WHERE s.doc_id = p.doc_id
	$$;

	SELECT tide.register_table('project', owner_column => 'owner', null_owner_bucket => 'global');
	SELECT tide.register_table('folder', parents => '{"app.folder": "parent_id", "app.project": "project_id"}');
	SELECT tide.register_table('doc', owner_column => 'author', parent => 'folder', parent_fk => 'folder_id', deleted_at_column => 'deleted_at');
	SELECT tide.register_table('comment', parent => 'doc', parent_fk => 'doc_id');
	SELECT tide.register_table('paper', bucket_function => 'app.paper_buckets');
	SELECT tide.add_bucket_dependency('paper', on_table => 'share', columns => 'doc_id', table_columns => 'doc_id');
	SELECT tide.add_bucket_dependency('paper', on_table => 'team', columns => 'id, org',
		affects => 'SELECT p.* FROM app.paper AS p JOIN app.share AS s ON s.doc_id = p.doc_id WHERE s.team_id = changed.id');`

// What each bucket must hold, by queries that know nothing of pgtide.
const oracle = `
	WITH RECURSIVE inherits (id, source) AS (
		SELECT id, id FROM folder UNION SELECT f.id, i.source FROM folder AS f JOIN inherits AS i ON i.id = f.parent_id
	), folder_bucket AS (
		SELECT DISTINCT i.id, coalesce('user:' || p.owner, 'global') AS bucket FROM inherits AS i JOIN folder AS f ON f.id = i.source JOIN project AS p ON p.id = f.project_id
	), doc_bucket AS (
		SELECT d.id, b.bucket FROM doc AS d JOIN LATERAL (SELECT 'user:' || d.author UNION SELECT f.bucket FROM folder_bucket AS f WHERE f.id = d.folder_id) AS b (bucket) ON true
		 WHERE d.deleted_at IS NULL
	)
	SELECT coalesce('user:' || owner, 'global') AS bucket, 'project' AS tab, id, row_to_json(project)::text AS payload FROM project
	UNION ALL SELECT b.bucket, 'folder', f.id, row_to_json(f)::text FROM folder AS f JOIN folder_bucket AS b ON b.id = f.id
	UNION ALL SELECT b.bucket, 'doc', d.id, row_to_json(d)::text FROM doc AS d JOIN doc_bucket AS b ON b.id = d.id
	UNION ALL SELECT b.bucket, 'comment', c.id, row_to_json(c)::text FROM comment AS c JOIN doc_bucket AS b ON b.id = c.doc_id
	UNION ALL SELECT DISTINCT 'org:' || t.org, 'paper', p.id, row_to_json(p)::text FROM paper AS p JOIN share AS s ON s.doc_id = p.doc_id JOIN team AS t ON t.id = s.team_id`

// What the log gives to a reader of each bucket who began with nothing.
const folded = `
	SELECT f.bucket, f.tab, f.id, f.payload
	  FROM (SELECT DISTINCT ON (b.bucket_id, c.table_id, c.row_key) b.bucket_id AS bucket, s.table_name AS tab, (c.row_key::json ->> 'id')::int AS id, e.op, c.payload::text AS payload
	          FROM tide.bundle_log AS b CROSS JOIN LATERAL unnest(b.changes, b.ops) WITH ORDINALITY AS e (change_id, op, nth)
	          JOIN tide.change_log AS c ON c.xid = b.xid AND c.change_id = e.change_id
	          JOIN tide.synced_table AS s ON s.table_id = c.table_id
	         ORDER BY b.bucket_id, c.table_id, c.row_key, b.bundle_seq DESC, e.nth DESC) AS f
	 WHERE f.op <> 'D'`

// differences are the rows that a reader has and should not have (-), or should and has not (+).
const differences = `
	SELECT coalesce(array_agg(d ORDER BY d), '{}') FROM (
		(SELECT '- ' || x::text FROM (` + folded + ` EXCEPT SELECT * FROM (` + oracle + `) AS o) AS x LIMIT 10)
		UNION ALL
		(SELECT '+ ' || x::text FROM (SELECT * FROM (` + oracle + `) AS o EXCEPT ` + folded + `) AS x LIMIT 10)) AS d (d)`

func newSite(t *testing.T) *pgtest.DB {
	t.Helper()
	return newApp(t, schema, `SELECT tide.seal()`)
}

// newApp is a database whose statements find the tables of app without naming the schema.
func newApp(t *testing.T, statements ...string) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	exec(t, db, `CREATE SCHEMA app`)
	config := db.Config()
	config.ConnConfig.RuntimeParams["search_path"] = "app"
	db.Close()
	var err error
	if db.Pool, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	exec(t, db, statements...)
	return db
}

func exec(t *testing.T, db *pgtest.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%.200s: %v", statement, err)
		}
	}
}
