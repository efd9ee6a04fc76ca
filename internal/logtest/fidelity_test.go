package logtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Values at their extremes, each with the JSON that devices must get, written by a session whose
// settings would change the text of every one of them.
var extremes = []struct{ column, literal, want string }{
	{"int2", "(-32768)::int2", `-32768`},
	{"int8", "9223372036854775807", `9223372036854775807`},
	{"int8", "(-9223372036854775808)::int8", `-9223372036854775808`},
	{"int8", "9007199254740993", `9007199254740993`},
	{"numeric", "123456789012345678901234567890.123456789012345678901234567890", `123456789012345678901234567890.123456789012345678901234567890`},
	{"numeric(38,10)", "1.1", `1.1000000000`},
	{"numeric", "'NaN'", `"NaN"`},
	{"numeric", "'-Infinity'", `"-Infinity"`},
	{"float8", "0.1::float8 + 0.2::float8", `0.30000000000000004`},
	{"float8", "'1.7976931348623157e308'", `1.7976931348623157e+308`},
	{"float8", "'Infinity'", `"Infinity"`},
	{"float8", "'NaN'", `"NaN"`},
	{"float4", "'1.17549435e-38'", `1.1754944e-38`},
	{"bool", "true", `true`},
	{"text", "NULL", `null`},
	{"text", "''", `""`},
	{"text", `E'quote " backslash \\ newline \n tab \t bell \x07'`, `"quote \" backslash \\ newline \n tab \t bell \u0007"`},
	{"text", `U&'\+01F600 \0301 \FEFF \2028 \200D \061C'`, "\"\U0001F600 \u0301 \uFEFF \u2028 \u200D \u061C\""},
	{"varchar(5)", "'ab   '", `"ab   "`},
	{"char(5)", "'ab'", `"ab   "`},
	{`"char"`, "'x'", `"x"`},
	{"name", "'n'", `"n"`},
	{"bytea", `'\x00ff0a27'::bytea`, `"AP8KJw=="`},
	{"bytea", `decode(repeat('ab', 100), 'hex')`, `"` + strings.TrimRight(strings.Repeat("q6ur", 33), "") + `qw=="`},
	{"bytea", `''::bytea`, `""`},
	{"bytea[]", `ARRAY['\x00'::bytea, NULL, '\xff'::bytea]`, `["AA==",null,"/w=="]`},
	{"bytea[]", `ARRAY[['\x00'::bytea, '\x01'::bytea], ['\x02'::bytea, '\xff'::bytea]]`, `[["AA==","AQ=="],["Ag==","/w=="]]`},
	{"bytea[]", `'{}'::bytea[]`, `[]`},
	{"date", "'2026-11-21'", `"2026-11-21"`},
	{"date", "'infinity'", `"infinity"`},
	{"date", "'0044-03-15 BC'", `"0044-03-15 BC"`},
	{"timestamp", "'2026-01-02 03:04:05.123456'", `"2026-01-02T03:04:05.123456"`},
	{"timestamptz", "'2026-01-02 03:04:05.123456+05:30'", `"2026-01-01T21:34:05.123456+00:00"`},
	{"timestamptz", "'-infinity'", `"-infinity"`},
	{"timestamptz[]", "ARRAY['2026-01-02 03:04:05+00'::timestamptz]", `["2026-01-02T03:04:05+00:00"]`},
	{"time", "'23:59:59.999999'", `"23:59:59.999999"`},
	{"timetz", "'23:59:59+02'", `"23:59:59+02"`},
	{"interval", "'1 year 2 mons -3 days 04:05:06.789'", `"1 year 2 mons -3 days +04:05:06.789"`},
	{"uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`},
	{"json", `'{"b" : 1, "a": 9007199254740993}'`, `{"b" : 1, "a": 9007199254740993}`},
	{"jsonb", `'{"b": 1, "a": [1.10, null]}'`, `{"a": [1.10, null], "b": 1}`},
	{"int4[]", "'{}'", `[]`},
	{"int4[]", "ARRAY[[1,2],[3,NULL]]", `[[1,2],[3,null]]`},
	{"text[]", `ARRAY['a,b', '', NULL, '"']`, `["a,b","",null,"\""]`},
	{"app.mood", "'so so'", `"so so"`},
	{"app.mood[]", "ARRAY['so so'::app.mood]", `["so so"]`},
	{"app.percent", "99", `99`},
	{"app.blob", `'\x01'::bytea`, `"AQ=="`},
	{"app.pair", "ROW(1, '2026-01-02 03:04:05+01')::app.pair", `{"a":1,"b":"2026-01-02T02:04:05+00:00"}`},
	{"int4range", "'[1,10)'", `"[1,10)"`},
	{"tstzrange", "tstzrange('2026-01-02 03:04:05+01', NULL)", `"[\"2026-01-02 02:04:05+00\",)"`},
	{"daterange", "daterange('2026-02-01', '2026-03-01')", `"[2026-02-01,2026-03-01)"`},
	{"datemultirange", "'{[2026-02-01,2026-03-01)}'", `"{[2026-02-01,2026-03-01)}"`},
	{"tsvector", "to_tsvector('english', 'the quick foxes')", `"'fox':3 'quick':2"`},
	{"inet", "'10.0.0.1/8'", `"10.0.0.1/8"`},
	{"macaddr", "'08:00:2b:01:02:03'", `"08:00:2b:01:02:03"`},
	{"bit(3)", "B'101'", `"101"`},
	{"point", "point(0.1, 1e300)", `"(0.1,1e+300)"`},
	{"money", "'12.34'::numeric::money", `12.34`},
	{"xml", "'<a>ä</a>'", `"<a>ä</a>"`},
	{"regclass", "'app.wide'::regclass", `"app.wide"`},
}

func wideSetup() string {
	columns := []string{"id int PRIMARY KEY"}
	for i, e := range extremes {
		columns = append(columns, fmt.Sprintf(`"C%d é" %s`, i, e.column))
	}
	return `CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('ok', 'so so'); CREATE DOMAIN app.percent AS int CHECK (VALUE <= 100);
		CREATE DOMAIN app.blob AS bytea; CREATE TYPE app.pair AS (a int, b timestamptz);
		CREATE TABLE app.wide (` + strings.Join(columns, ", ") + `);
		SELECT tide.register_table('app.wide', bucket => 'global');`
}

func TestEveryTypeArrivesExactly(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, wideSetup())
	var literals []string
	for i, e := range extremes {
		literals = append(literals, fmt.Sprintf(`(%s)::%s AS "C%d é"`, e.literal, e.column, i))
	}
	conn := db.Connect(t, db.URL)
	must(t, conn, `CREATE TABLE app.source AS SELECT 1 AS id, `+strings.Join(literals, ", "),
		`SET TimeZone = 'Asia/Kathmandu'`, `SET DateStyle = 'German, DMY'`, `SET IntervalStyle = 'iso_8601'`, `SET extra_float_digits = -15`,
		`SET bytea_output = 'escape'`, `SET lc_monetary = 'C.UTF-8'`, `SET search_path = app`, `SET quote_all_identifiers = on`,
		`SET standard_conforming_strings = off`, `SET escape_string_warning = off`, `SET transform_null_equals = on`, `SET array_nulls = off`,
		`SET row_security = off`, `SET xmlbinary = hex`, `SET xmloption = document`, `SET default_text_search_config = 'german'`, `SET timezone_abbreviations = 'India'`,
		`SET plan_cache_mode = force_custom_plan`, `SET lc_numeric = 'C'`, `SET jit_above_cost = 0`,
		`SET app.user_id = 'somebody'`, `INSERT INTO app.wide SELECT * FROM app.source`,
		`UPDATE app.wide SET id = 2`, `INSERT INTO app.wide SELECT * FROM app.source`)
	seal(t, db)
	for _, payload := range []string{
		value[string](t, db, `SELECT payload::text FROM tide.changes WHERE key ->> 'id' = '1' AND op = 'INSERT' ORDER BY bundle_id LIMIT 1`),
		value[string](t, db, `SELECT payload::text FROM tide.changes WHERE key ->> 'id' = '2' AND op = 'INSERT'`),
		// A table that is read, not written, gives the same text.
		value[string](t, db, `SELECT payload::text FROM tide.adoption(ARRAY[1], ARRAY['A']) WHERE row_key ~ '"1"'`),
	} {
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(payload), &got); err != nil {
			t.Fatalf("payload is no JSON: %v: %s", err, payload)
		}
		for i, e := range extremes {
			if g := string(got[fmt.Sprintf("C%d é", i)]); g != e.want {
				t.Errorf("%s %s arrives as %s, want %s", e.column, e.literal, g, e.want)
			}
		}
		if len(got) != len(extremes)+1 {
			t.Errorf("the payload has %d fields, want %d", len(got), len(extremes)+1)
		}
	}
}

func TestALongTextArrivesWhole(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, taskSetup)
	seal(t, db)
	exec(t, db, `UPDATE app.task SET title = (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 32768) AS g) WHERE id = 1`)
	seal(t, db)
	if !value[bool](t, db, `SELECT c.payload ->> 'title' = t.title AND length(t.title) = 1048576 FROM tide.changes AS c, app.task AS t WHERE t.id = 1`) {
		t.Error("a text of 1 MB is not what was written")
	}
	if got := value[int64](t, db, `SELECT byte_count FROM tide.bundles`); got < 1<<20 {
		t.Errorf("its bundle counts %d bytes", got)
	}
}

// Keys are the canonical text of their value, whatever the type.
func TestKeysOfEveryType(t *testing.T) {
	t.Parallel()
	for keyType, c := range map[string]struct{ literal, want string }{
		"int2":        {"-5", "-5"},
		"int8":        {"-9223372036854775808", "-9223372036854775808"},
		"uuid":        {"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		"text":        {`E'a"\\\n é'`, "a\"\\\n é"},
		"numeric":     {"1.10", "1.10"},
		"bool":        {"true", "true"},
		"date":        {"'2026-01-02'", "2026-01-02"},
		"timestamptz": {"'2026-01-02 03:04:05+00'", "2026-01-02T03:04:05+00:00"},
		"bytea":       {`'\x00ff'::bytea`, "AP8="},
		"float8":      {"0.1", "0.1"},
		"inet":        {"'10.0.0.1'", "10.0.0.1"},
		"interval":    {"'1 day 02:00'", "1 day 02:00:00"},
		"int4range":   {"'[1,5)'", "[1,5)"},
		"text[]":      {`ARRAY['a', 'b c']`, `{a,"b c"}`},
		"varchar(9)":  {"'x'", "x"},
		"char(4)":     {"'x'", "x"},
	} {
		t.Run(keyType, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			exec(t, db, `CREATE SCHEMA app; CREATE TABLE app.k (k `+keyType+` PRIMARY KEY, n int); SELECT tide.register_table('app.k', bucket => 'global')`)
			held := newFold(t, db)
			conn := db.Connect(t, db.URL)
			must(t, conn, `SET TimeZone = 'Asia/Tokyo'`, `SET DateStyle = 'SQL, DMY'`, `SET bytea_output = escape`, `SET IntervalStyle = sql_standard`, `SET extra_float_digits = 0`,
				`INSERT INTO app.k VALUES ((`+c.literal+`)::`+keyType+`, 1)`, `UPDATE app.k SET n = 2`)
			held.check(t)
			if got := value[string](t, db, `SELECT key ->> 'k' FROM tide.changes LIMIT 1`); got != c.want {
				t.Errorf("the key is %q, want %q", got, c.want)
			}
			if got := value[int](t, db, `SELECT count(*) FROM tide.row_history('app.k', jsonb_build_object('k', $1::text))`, c.want); got != 2 {
				t.Errorf("row_history has %d changes, want 2", got)
			}
		})
	}
}

// What is excluded appears nowhere in the log, in no form.
func TestExcludedColumnsAppearNowhere(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, strings.Replace(taskSetup, `'owner')`, `'owner', exclude_columns => '{secret}')`, 1))
	seal(t, db)
	exec(t, db, `INSERT INTO app.task VALUES (20, 1, 'a', 'hunter2')`, `UPDATE app.task SET secret = 'hunter2', title = 'b'`, `DELETE FROM app.task WHERE id = 20`, `SELECT tide.refresh('app.task')`)
	seal(t, db)
	none(t, db, "changes with an excluded value", `SELECT c FROM tide.change_log AS c WHERE c::text ~ 'hunter2|secret'`)
}
