package pushtest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Values of every kind come back as they were sent: pushed, captured, and pushed again as captured.
func TestValues(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		CREATE TYPE app.color AS ENUM ('red', 'GREEN');
		CREATE DOMAIN app.blob AS bytea;
		CREATE TYPE app.pair AS (a int, b text);
		CREATE TABLE app."Thing" (
			id uuid PRIMARY KEY, owner_id text NOT NULL,
			i2 smallint, i8 bigint, num numeric(60, 20), anynum numeric, f4 real, f8 double precision, b boolean, cash money,
			t text, v varchar(20), c char(5), "Mixed Case" text, raw bytea, blob app.blob, blobs bytea[],
			d date, ti time, ts timestamp, tz timestamptz, iv interval, u uuid, j json, jb jsonb, color app.color, pair app.pair,
			ints int[], texts text[], grid int[], r int4range, mr int4multirange, addr inet, bits varbit, tsv tsvector, p point, xid xid8, x xml);
		SELECT tide.register_table('app."Thing"', owner_column => 'owner_id', push_policy => 'owner_only')`)
	d := connected(t, db, "ann")
	for i, payload := range []string{
		`{}`,
		`{"i2":-32768,"i8":9223372036854775807,"num":1234567890123456789012345678901234567.12345678901234567890,"anynum":1e-50,"f4":1.5,"f8":0.1,"b":true,"cash":12.34}`,
		`{"i2":"7","i8":"-9223372036854775808","num":"NaN","anynum":"Infinity","f4":"-Infinity","f8":"NaN","b":"false","cash":-0.01}`,
		`{"t":"a\"b\\c\né😀</script>","v":"","c":"x","Mixed Case":"yes","raw":"yv66vg==","blob":"AA==","blobs":["AQ==",null,""]}`,
		`{"d":"2024-02-29","ti":"23:59:59.999999","ts":"2024-02-29T23:59:59.123456","tz":"2024-02-29T23:59:59.123456+00:00","iv":"1 year 2 mons 3 days 04:05:06","u":"be9ffa2d-e512-426b-b2fe-3a9618ce8d72"}`,
		`{"tz":"0044-03-15T12:00:00+00:00 BC","d":"infinity","ts":"-infinity"}`,
		`{"j":{"b":1,"a":[1.50,9007199254740993]},"jb":{"b":1,"a":[1.50,9007199254740993]},"color":"GREEN","pair":{"a":1,"b":"x, y"}}`,
		`{"j":null,"jb":"text","ints":[1,2,3],"texts":["a,b","\"",null,""],"grid":[[1,2],[3,4]],"r":"[1,5)","mr":"{[1,3),[5,7)}","addr":"10.0.0.1","bits":"101","tsv":"'a':1 'b':2","p":"(1.5,2)","xid":"7","x":"<a/>"}`,
	} {
		id := fmt.Sprintf("00000000-0000-0000-0000-%012d", i)
		before := d.applied(t, insert("Thing", id, payload))
		read := func() string {
			return value[string](t, db, `SELECT payload::text FROM tide.changes WHERE bucket_id = 'user:ann' AND key ->> 'id' = $1 ORDER BY bundle_seq DESC LIMIT 1`, id)
		}
		captured := read()
		var sent, got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(payload), &sent); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(captured), &got); err != nil {
			t.Fatal(err)
		}
		for column, value := range sent {
			// A number in quotes is one, and a char is padded; all else is the same text.
			if text := string(value); text != string(got[column]) && `"`+string(got[column])+`"` != text && column != "c" && column != "b" && column != "num" && column != "anynum" && column != "jb" {
				t.Errorf("%s was sent as %s and came back as %s", column, value, got[column])
			}
		}
		d.applied(t, update("Thing", id, before, captured))
		if again := read(); again != captured {
			t.Errorf("pushed as captured\n%s\ncame back as\n%s", captured, again)
		}
	}
}

// Columns that a device must not write, need not know, or that the server fills.
func TestColumns(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		CREATE SEQUENCE app.counter;
		CREATE TABLE app.item (
			id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, owner_id text NOT NULL, name text, rank bigint NOT NULL DEFAULT nextval('app.counter'),
			price numeric NOT NULL DEFAULT 10, touched_at timestamptz NOT NULL DEFAULT '2000-01-01', secret text DEFAULT 'hidden', shout text GENERATED ALWAYS AS (upper(name)) STORED);
		SELECT tide.register_table('app.item', owner_column => 'owner_id', push_policy => 'owner_only', exclude_columns => '{secret}', server_columns => '{touched_at}', protected_columns => '{price}')`)
	d := connected(t, db, "ann")
	version := d.applied(t, insert("item", 5, `{"name":"a","touched_at":"2020-01-01","shout":"no","price":null}`), insert("item", 6, `{"rank":77,"price":10}`))
	if got := value[string](t, db, `SELECT string_agg(concat_ws(' ', id, owner_id, name, rank, price, extract(year FROM touched_at), secret, shout), '; ' ORDER BY id) FROM app.item`); got != "5 ann a 1 10 2000 hidden A; 6 ann 77 10 2000 hidden" {
		t.Errorf("inserted: %s", got)
	}
	exec(t, db, `UPDATE app.item SET secret = 'more'`) // which is no change for devices
	version = d.applied(t, update("item", 5, version, `{"name":"b","price":10,"touched_at":"1999-01-01"}`), update("item", 6, version, `{"rank":78}`))
	if got := value[string](t, db, `SELECT string_agg(concat_ws(' ', id, owner_id, name, rank, price, extract(year FROM touched_at), secret, shout), '; ' ORDER BY id) FROM app.item`); got != "5 ann b 1 10 2000 more B; 6 ann 78 10 2000 more" {
		t.Errorf("updated: %s", got)
	}
	d.refused(t, map[int64]string{0: "42501"}, update("item", 5, version, `{"price":1}`))
	d.refused(t, map[int64]string{0: "42501"}, insert("item", 7, `{"price":1}`))
	if rejected := d.refused(t, map[int64]string{0: "42703"}, update("item", 5, version, `{"secret":"x"}`)); len(rejected) == 1 && rejected[0].Column != "secret" {
		t.Errorf("%+v", rejected)
	}
	a := d.push(t.Context(), update("item", 5, version-1, `{"name":"c"}`))
	if a.Status != "conflict" || json.Valid(a.Conflicts[0].Row) && value[bool](t, db, `SELECT $1::text ~ 'more|secret'`, string(a.Conflicts[0].Row)) {
		t.Errorf("%+v", a)
	}
}

// A table that is altered between two pushes: the next one goes on, or names what is wrong.
func TestAlteredTable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	d := connected(t, db, "ann")
	version := d.applied(t, insert("note", 1, `{"body":"a"}`))
	for _, c := range []struct{ ddl, payload, want string }{
		{`ALTER TABLE app.note ADD COLUMN more text DEFAULT 'new'`, `{"body":"b"}`, "b new"},
		{`ALTER TABLE app.note RENAME COLUMN body TO content`, `{"body":"c"}`, "c new"},
		{`ALTER TABLE app.note ALTER COLUMN n TYPE numeric`, `{"body":"d","n":1.5}`, "d new"},
		{`ALTER TABLE app.note RENAME TO remark`, `{"body":"e"}`, "e new"},
	} {
		exec(t, db, c.ddl)
		version = d.applied(t, update("note", 1, version, c.payload))
		table := value[string](t, db, `SELECT relation::text FROM tide.tables`)
		if got := value[string](t, db, `SELECT concat_ws(' ', to_jsonb(r) ->> 'body', to_jsonb(r) ->> 'content', more) FROM `+table+` AS r`); got != c.want {
			t.Errorf("%s: %s", c.ddl, got)
		}
	}
	exec(t, db, `ALTER TABLE app.remark DROP COLUMN n`)
	d.refused(t, map[int64]string{0: "42703"}, update("note", 1, version, `{"body":"f","n":1}`))
	d.applied(t, update("note", 1, version, `{"body":"f"}`))
}

// Rows that are deleted by setting a column: a device deletes so, and brings back what was deleted.
func TestSoftDeletes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ column, unset, policy string }{
		{"deleted_at timestamptz", "deleted_at IS NULL", ``},
		{"gone boolean NOT NULL DEFAULT false", "NOT gone", `, exclude_columns => '{gone}'`},
	} {
		t.Run(c.column, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			column := value[string](t, db, `SELECT split_part($1, ' ', 1)`, c.column)
			exec(t, db, `CREATE SCHEMA app; CREATE TABLE app.note (id int PRIMARY KEY, owner_id text, body text CHECK (body <> 'bad'), `+c.column+`);
				SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'owner_only', deleted_at_column => `+quote(column)+c.policy+`)`)
			d := connected(t, db, "ann")
			living := func() int {
				return value[int](t, db, `SELECT count(*) FILTER (WHERE `+c.unset+`) * 10 + count(*) FROM app.note`)
			}
			version := d.applied(t, insert("note", 1, `{"body":"a"}`))
			version = d.applied(t, remove("note", 1, version))
			if got := living(); got != 1 {
				t.Errorf("deleted: %d", got)
			}
			if a := d.push(t.Context(), remove("note", 1, version)); a.Status != "conflict" || !a.Conflicts[0].Deleted {
				t.Errorf("deleted twice: %+v", a)
			}
			if a := d.push(t.Context(), update("note", 1, version, `{"body":"b"}`)); a.Status != "conflict" || !a.Conflicts[0].Deleted {
				t.Errorf("updated after it was deleted: %+v", a)
			}
			back := insert("note", 1, `{"body":"back"}`)
			if a := d.push(t.Context(), back); a.Status != "conflict" || !a.Conflicts[0].Deleted || a.Conflicts[0].Version != version {
				t.Errorf("inserted without knowing of it: %+v", a)
			}
			back.Base = version
			d.refused(t, map[int64]string{1: "23514"}, back, insert("note", 2, `{"body":"bad"}`))
			d.applied(t, back)
			if got := living(); got != 11 {
				t.Errorf("brought back: %d", got)
			}
			if got := value[string](t, db, `SELECT string_agg(op, ' ' ORDER BY bundle_seq) FROM tide.changes WHERE bucket_id = 'user:ann'`); got != "INSERT DELETE INSERT" {
				t.Errorf("devices hear: %s", got)
			}
		})
	}
}
