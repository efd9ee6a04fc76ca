package logtest

import (
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// How a table is read is kept, and counts only for the table that it was worked out for: whatever is altered, the
// next reader works it out anew, tide.check() says that it is kept no more, and tide.maintain() keeps it again.
func TestAlteredTablesAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]string{
		"a column is renamed":                   `ALTER TABLE app.task RENAME COLUMN title TO name`,
		"the owner is renamed":                  `ALTER TABLE app.task RENAME COLUMN owner_id TO user_id`,
		"the key is renamed":                    `ALTER TABLE app.task RENAME COLUMN id TO task_id`,
		"a column is added":                     `ALTER TABLE app.task ADD COLUMN more text`,
		"a column is dropped":                   `ALTER TABLE app.task DROP COLUMN title`,
		"a column gets another type":            `ALTER TABLE app.task ALTER COLUMN title TYPE bytea USING title::bytea`,
		"the owner gets another type":           `ALTER TABLE app.task ALTER COLUMN owner_id TYPE integer USING owner_id::integer`,
		"the owner gets another collation":      `CREATE COLLATION app.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ALTER TABLE app.task ALTER COLUMN owner_id TYPE text COLLATE app.any_case`,
		"the key gets another type":             `ALTER TABLE app.task ALTER COLUMN id TYPE text`,
		"a type moves":                          `ALTER TYPE app.mood SET SCHEMA public`,
		"the table is renamed":                  `ALTER TABLE app.task RENAME TO job`,
		"the table moves":                       `ALTER TABLE app.task SET SCHEMA public`,
		"the schema is renamed":                 `ALTER SCHEMA app RENAME TO other`,
		"the key has another index":             `ALTER TABLE app.task DROP CONSTRAINT task_pkey; CREATE UNIQUE INDEX ON app.task (id text_pattern_ops)`,
		"the mark of deleted rows is a boolean": `ALTER TABLE app.task ALTER COLUMN deleted_at TYPE boolean USING deleted_at IS NOT NULL`,
		"a partition has its columns otherwise": `CREATE TABLE app.last (n integer, id integer NOT NULL); ALTER TABLE app.part ATTACH PARTITION app.last FOR VALUES FROM (100) TO (200)`,
		"a table of partitions gets a column":   `ALTER TABLE app.part ADD COLUMN more text`,
		"it is registered otherwise":            `SELECT tide.register_table('app.task', owner_column => 'owner_id', bucket_prefix => 'team:', exclude_columns => '{title}')`,
		"a bucket function returns a list":      `ALTER FUNCTION fn.where_to(fn.note) RENAME TO old; CREATE FUNCTION fn.where_to(fn.note) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$SELECT ARRAY[($1).place]$$`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, `
				CREATE SCHEMA app;
				CREATE TYPE app.mood AS ENUM ('good');
				CREATE TABLE app.task (id varchar PRIMARY KEY, owner_id text, title text, mood app.mood, deleted_at timestamptz);
				CREATE TABLE app.part (id integer NOT NULL PRIMARY KEY, n integer) PARTITION BY RANGE (id);
				CREATE TABLE app.first PARTITION OF app.part FOR VALUES FROM (0) TO (100);
				CREATE SCHEMA fn;
				CREATE TABLE fn.note (id integer PRIMARY KEY, place text);
				CREATE FUNCTION fn.where_to(fn.note) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT ($1).place$$;
				SELECT tide.register_table('app.task', owner_column => 'owner_id', deleted_at_column => 'deleted_at');
				SELECT tide.register_table('app.part', bucket => 'global');
				SELECT tide.register_table('fn.note', bucket_function => 'fn.where_to')`)
			const stale = `SELECT count(*) FROM tide.check() WHERE finding LIKE 'capture functions are not%'`
			if got := value[int64](t, db, stale); got != 0 {
				t.Fatalf("%d findings before anything was altered", got)
			}
			kept := value[string](t, db, `SELECT string_agg(r::text, E'\n' ORDER BY r.table_id) FROM tide.reading AS r`)
			exec(t, db, `SELECT tide.maintain(only_altered => true)`, alter)
			const differ = `SELECT coalesce(string_agg(s.relation::text, ', '), '') FROM tide.synced_table AS s WHERE tide.reading_of(s.table_id) IS DISTINCT FROM tide.make_reading(s.table_id)`
			if got := value[string](t, db, differ); got != "" {
				t.Errorf("read otherwise than they are: %s", got)
			}
			now := value[string](t, db, `SELECT string_agg(tide.make_reading(s.table_id)::text, E'\n' ORDER BY s.table_id) FROM tide.synced_table AS s`)
			if now == kept {
				t.Errorf("it is read as before: %s", now)
			}
			exec(t, db, `SELECT tide.maintain(only_altered => true)`)
			if got := value[string](t, db, `SELECT string_agg(r::text, E'\n' ORDER BY r.table_id) FROM tide.reading AS r`); got != now {
				t.Errorf("kept is\n%s\nnot\n%s", got, now)
			}
			if got := value[int64](t, db, stale); got != 0 {
				t.Errorf("%d findings after maintenance", got)
			}
		})
	}
}
