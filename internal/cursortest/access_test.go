package cursortest

import (
	"slices"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Without an access function a user reads his home bucket and global; with one, his home bucket and what it says.
func TestBucketsOf(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		CREATE TABLE app.member (user_id text, team text);
		INSERT INTO app.member VALUES ('7', 'b'), ('7', 'a'), ('7', NULL), ('7', 'a'), ('8', 'c');
		CREATE FUNCTION app.listed(user_id text) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER AS $$SELECT 'team:' || team FROM app.member WHERE user_id = $1$$;
		CREATE FUNCTION app.array(user_id text) RETURNS text[] LANGUAGE sql STABLE SECURITY DEFINER AS $$SELECT array_agg('team:' || team) FROM app.member WHERE user_id = $1$$;
		GRANT USAGE ON SCHEMA app TO tide_owner`)
	buckets := func() []string { return value[[]string](t, db, `SELECT tide.buckets_of('7')`) }
	if got := buckets(); !slices.Equal(got, []string{"global", "user:7"}) {
		t.Errorf("standard: %q", got)
	}
	for _, function := range []string{"app.listed", "app.array(text)"} {
		exec(t, db, `SELECT tide.set_bucket_access($1)`, function)
		if got := buckets(); !slices.Equal(got, []string{"team:a", "team:b", "user:7"}) {
			t.Errorf("%s: %q", function, got)
		}
		if got := value[[]string](t, db, `SELECT tide.buckets_of('nobody')`); !slices.Equal(got, []string{"user:nobody"}) {
			t.Errorf("%s: of nobody %q", function, got)
		}
	}
	exec(t, db, `SELECT tide.set_bucket_access(NULL)`)
	if got := buckets(); !slices.Equal(got, []string{"global", "user:7"}) {
		t.Errorf("standard again: %q", got)
	}
}

// A function that cannot be used is refused when it is named; one that fails later hides everything.
func TestAccessFunctionsThatFail(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `
		CREATE SCHEMA app;
		GRANT USAGE ON SCHEMA app TO tide_owner;
		CREATE FUNCTION app.of_int(i int) RETURNS SETOF text LANGUAGE sql STABLE AS $$SELECT 'a'$$;
		CREATE FUNCTION app.one(u text) RETURNS text LANGUAGE sql STABLE AS $$SELECT 'a'$$;
		CREATE FUNCTION app.volatile(u text) RETURNS SETOF text LANGUAGE sql AS $$SELECT 'a'$$;
		CREATE FUNCTION app.closed(u text) RETURNS SETOF text LANGUAGE sql STABLE AS $$SELECT 'a'$$;
		REVOKE EXECUTE ON FUNCTION app.closed FROM PUBLIC;
		CREATE FUNCTION app.answers(u text) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
		BEGIN
			IF u = 'raise' THEN RAISE 'secret'; END IF;
			IF u = 'busy' THEN RAISE 'busy' USING ERRCODE = '40001'; END IF;
			RETURN QUERY SELECT * FROM unnest(CASE u WHEN 'empty' THEN ARRAY[''] WHEN 'long' THEN ARRAY[repeat('x', 513)]
				WHEN 'many' THEN ARRAY(SELECT 'b' || g FROM generate_series(1, 20) AS g) END);
		END$$`)
	for _, function := range []string{"app.none", "app.of_int(int)", "app.one", "app.volatile", "app.closed"} {
		if got := code(t, db, `SELECT tide.set_bucket_access($1)`, function); got != "TD031" {
			t.Errorf("%s: %s, want TD031", function, got)
		}
	}
	exec(t, db, `SELECT tide.set_bucket_access('app.answers')`)
	exec(t, db, `UPDATE tide.setting SET max_buckets_per_user = 19`)
	for user, want := range map[string]string{"raise": "TD032", "busy": "40001", "empty": "TD032", "long": "TD032", "many": "TD032", "nobody": ""} {
		if got := code(t, db, `SELECT tide.buckets_of($1)`, user); got != want {
			t.Errorf("%s: %q, want %q", user, got, want)
		}
	}
	exec(t, db, `DROP FUNCTION app.answers`)
	if got := code(t, db, `SELECT tide.buckets_of('nobody')`); got != "TD032" {
		t.Errorf("without its function: %q", got)
	}
}
