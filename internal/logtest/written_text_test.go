package logtest

import (
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Functions are written anew when their text is not what it would be now, and pushes lock rows in the order
// of their written key: neither may hang on how a query over the catalogs happened to be planned, which
// statistics decide.
func TestWrittenTextsAreTheSameUnderEveryPlan(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		CREATE TABLE app.place (country text, town text, street text, owner_id text, PRIMARY KEY (town, street, country));
		CREATE TABLE app.stay (
			guest text, night date, place_street text, place_country text, place_town text, owner_id text,
			PRIMARY KEY (night, guest),
			FOREIGN KEY (place_country, place_town, place_street) REFERENCES app.place (country, town, street));
		CREATE TABLE app.bill (
			street text, id integer, country text, town text, n numeric, FOREIGN KEY (street, country, town) REFERENCES app.place (street, country, town),
			PRIMARY KEY (town, id, country)) PARTITION BY LIST (country);
		CREATE TABLE app.bill_ch PARTITION OF app.bill FOR VALUES IN ('ch');
		SELECT tide.register_table('app.place', owner_column => 'owner_id', push_policy => 'owner_only');
		SELECT tide.register_table('app.stay', owner_column => 'owner_id', push_policy => 'owner_only');
		CREATE TABLE app.visit (id integer PRIMARY KEY, town text, street text, country text);
		CREATE FUNCTION app.visitors(app.visit) RETURNS text[] LANGUAGE sql STABLE
			RETURN ARRAY(SELECT 'user:' || s.guest FROM app.stay AS s WHERE (s.place_town, s.place_street, s.place_country) = (($1).town, ($1).street, ($1).country));
		SELECT tide.register_table('app.bill', parent => 'app.place', parent_fk => 'town,street,country');
		SELECT tide.register_table('app.visit', bucket_function => 'app.visitors');
		SELECT tide.add_bucket_dependency('app.visit', 'app.stay', 'place_town, place_street, place_country', 'town, street, country');
		SELECT tide.add_bucket_dependency('app.visit', 'app.place', 'town, street', 'town, street')`)
	const written = `
		SELECT string_agg(p.proname || p.prosrc, E'\n' ORDER BY p.proname) || (SELECT string_agg(r::text, E'\n' ORDER BY r.table_id) FROM tide.reading AS r)
		  FROM pg_proc AS p
		 WHERE p.pronamespace = 'tide'::regnamespace AND p.proname ~ '_[0-9]+'`
	want := value[string](t, db, written)
	for _, settings := range []string{
		`SET enable_nestloop = off`,
		`SET enable_nestloop = off; SET enable_hashjoin = off`,
		`SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET join_collapse_limit = 1`,
		`SET enable_nestloop = off; SET enable_mergejoin = off; SET enable_indexscan = off; SET enable_bitmapscan = off`,
	} {
		conn := db.Connect(t, db.URL)
		must(t, conn, settings, `SELECT tide.maintain()`)
		var got string
		if err := conn.QueryRow(t.Context(), written).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: written were\n%s\nnot\n%s", settings, got, want)
		}
	}
}
