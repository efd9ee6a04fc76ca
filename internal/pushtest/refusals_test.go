package pushtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

const refusalSchema = `
	CREATE SCHEMA app;
	CREATE EXTENSION btree_gist SCHEMA public;
	CREATE DOMAIN app.percent AS integer CHECK (VALUE BETWEEN 0 AND 100);
	CREATE TYPE app.color AS ENUM ('red', 'green');
	CREATE TABLE app.list (id bigint PRIMARY KEY, owner_id text NOT NULL, name text);
	CREATE TABLE app.task (
		id bigint PRIMARY KEY, owner_id text NOT NULL, title text NOT NULL CHECK (title <> 'bad'), slug text UNIQUE, list_id bigint REFERENCES app.list,
		short varchar(5), small smallint, share app.percent, color app.color, at timestamptz, span int4range, photo bytea,
		EXCLUDE USING gist (span WITH &&));
	CREATE FUNCTION app.no_monday() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.title = 'monday' THEN RAISE EXCEPTION 'not on a monday' USING ERRCODE = 'ZZ001'; END IF;
		IF NEW.title = 'ignored' THEN RETURN NULL; END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER no_monday BEFORE INSERT OR UPDATE ON app.task FOR EACH ROW EXECUTE FUNCTION app.no_monday();
	SELECT tide.register_table('app.list', owner_column => 'owner_id', push_policy => 'owner_only');
	SELECT tide.register_table('app.task', owner_column => 'owner_id', push_policy => 'owner_only');`

// Whatever the database has against a row, the push is refused as a whole, the row is named, nothing
// stays, and the next push under the same number goes through.
func TestRefusals(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, refusalSchema)
	exec(t, db, `INSERT INTO app.list VALUES (1, 'ann', 'own'), (2, 'bob', 'not hers'); INSERT INTO app.task (id, owner_id, title, slug, span) VALUES (1, 'bob', 'taken', 'taken', '[1,5)')`)
	d := connected(t, db, "ann")
	for i, c := range []struct{ name, payload, state string }{
		{"check", `{"title":"bad"}`, "23514"},
		{"not null", `{"title":null}`, "23502"},
		{"unique", `{"title":"x","slug":"taken"}`, "23505"},
		{"exclusion", `{"title":"x","span":"[2,3)"}`, "23P01"},
		{"foreign key", `{"title":"x","list_id":77}`, "23503"},
		{"foreign key to a row of somebody else", `{"title":"x","list_id":2}`, "23503"},
		{"domain", `{"title":"x","share":101}`, "23514"},
		{"enum", `{"title":"x","color":"blue"}`, "22P02"},
		{"number", `{"title":"x","small":"many"}`, "22P02"},
		{"range of a number", `{"title":"x","small":40000}`, "22003"},
		{"length", `{"title":"x","short":"123456"}`, "22001"},
		{"time", `{"title":"x","at":"yesterday at noon or so"}`, "22007"},
		{"bytea", `{"title":"x","photo":"no base64!"}`, "22023"},
		{"unknown column", `{"title":"x","Title":"y"}`, "42703"},
		{"trigger", `{"title":"monday"}`, "ZZ001"},
		{"suppressed by a trigger", `{"title":"ignored"}`, "42501"},
		{"owner", `{"title":"x","owner_id":"bob"}`, "42501"},
		{"another key in the payload", `{"title":"x","id":999}`, "42501"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := 100 + i
			rejected := d.refused(t, map[int64]string{1: c.state},
				insert("task", 50, `{"title":"good"}`), insert("task", id, c.payload), insert("task", 51, `{"title":"good"}`))
			for _, r := range rejected {
				if strings.Contains(r.Detail, "bob") || strings.Contains(r.Detail, "[1,5)") || strings.Contains(r.Detail, "Failing row") {
					t.Errorf("the refusal tells of others: %s", r.Detail)
				}
			}
		})
	}
	d.applied(t, insert("task", 50, `{"title":"good","list_id":1}`))
	if got := value[string](t, db, `SELECT owner_id FROM app.task WHERE id = 50`); got != "ann" {
		t.Errorf("the row belongs to %s", got)
	}
}

// One poisoned row amid a thousand is named; without it the push goes through.
func TestPoisonAmidThousand(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, refusalSchema)
	d := connected(t, db, "ann")
	var rows []row
	for i := range 1000 {
		payload := fmt.Sprintf(`{"title":"t%d"}`, i)
		if i == 617 {
			payload = `{"title":"bad"}`
		}
		rows = append(rows, insert("task", i, payload))
	}
	d.refused(t, map[int64]string{617: "23514"}, rows...)
	if left := value[int64](t, db, `SELECT count(*) FROM app.task`); left != 0 {
		t.Errorf("%d rows are left", left)
	}
	d.applied(t, append(rows[:617:617], rows[618:]...)...)
	if held := value[int64](t, db, `SELECT count(*) FROM app.task`); held != 999 {
		t.Errorf("%d rows are there", held)
	}
}

// What cannot be read is refused with every row named, before anything is looked at.
func TestUnreadableRows(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, refusalSchema)
	exec(t, db, `CREATE TABLE app.quiet (id int PRIMARY KEY, owner_id text); SELECT tide.register_table('app.quiet', owner_column => 'owner_id')`)
	d := connected(t, db, "ann")
	good := `{"schema":"app","table":"task","key":{"id":"1"},"op":"INSERT","base_row_version":0,"payload":{"title":"x"}}`
	for name, rows := range map[string]string{
		"no array":             `{}`,
		"empty":                `[]`,
		"no object":            `[` + good + `,7]`,
		"null":                 `[` + good + `,null]`,
		"no table":             `[` + good + `,{"schema":"app","key":{"id":"2"},"op":"INSERT","payload":{}}]`,
		"unknown table":        `[` + good + `,{"schema":"app","table":"nope","key":{"id":"2"},"op":"INSERT","payload":{}}]`,
		"table of the system":  `[` + good + `,{"schema":"tide","table":"setting","key":{"id":"2"},"op":"INSERT","payload":{}}]`,
		"table without pushes": `[` + good + `,{"schema":"app","table":"quiet","key":{"id":"2"},"op":"INSERT","payload":{}}]`,
		"op":                   `[` + good + `,{"schema":"app","table":"task","key":{"id":"2"},"op":"UPSERT","payload":{}}]`,
		"no key":               `[` + good + `,{"schema":"app","table":"task","op":"INSERT","payload":{}}]`,
		"key is no object":     `[` + good + `,{"schema":"app","table":"task","key":"2","op":"INSERT","payload":{}}]`,
		"key of another name":  `[` + good + `,{"schema":"app","table":"task","key":{"ID":"2"},"op":"INSERT","payload":{}}]`,
		"key not canonical":    `[` + good + `,{"schema":"app","table":"task","key":{"id":"02"},"op":"INSERT","payload":{}}]`,
		"key of another type":  `[` + good + `,{"schema":"app","table":"task","key":{"id":"two"},"op":"INSERT","payload":{}}]`,
		"payload of a delete":  `[` + good + `,{"schema":"app","table":"task","key":{"id":"2"},"op":"DELETE","payload":{"title":"x"}}]`,
		"no payload":           `[` + good + `,{"schema":"app","table":"task","key":{"id":"2"},"op":"UPDATE"}]`,
		"payload is no object": `[` + good + `,{"schema":"app","table":"task","key":{"id":"2"},"op":"UPDATE","payload":[1]}]`,
		"base":                 `[` + good + `,{"schema":"app","table":"task","key":{"id":"2"},"op":"UPDATE","base_row_version":-1,"payload":{}}]`,
		"base is no number":    `[` + good + `,{"schema":"app","table":"task","key":{"id":"2"},"op":"UPDATE","base_row_version":"x","payload":{}}]`,
		"key twice":            `[` + good + `,` + good + `]`,
	} {
		a := d.pushText(t.Context(), 1, rows)
		if a.Code != "TD102" {
			t.Errorf("%s: %+v", name, a)
		}
		if strings.HasPrefix(rows, "["+good) && !strings.Contains(a.Data, `"row_ordinal": 1}`) {
			t.Errorf("%s: %s does not name row 1", name, a.Data)
		}
		if strings.HasPrefix(rows, "["+good) && !strings.Contains(a.Detail, "row 1:") || strings.Contains(a.Detail, "row 0:") {
			t.Errorf("%s: %s does not name row 1 alone", name, a.Detail)
		}
	}
	if left := value[int64](t, db, `SELECT count(*) FROM tide.push_log`); left != 0 {
		t.Errorf("%d pushes were taken", left)
	}
	if a := d.pushText(t.Context(), 1, strings.Replace(strings.Replace(`[`+good+`]`, `"task"`, `" TASK "`, 1), `"INSERT"`, `"insert "`, 1)); a.Status != "applied" {
		t.Errorf("names in another case: %+v", a)
	}
}
