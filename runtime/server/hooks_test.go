package server

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func (f *front) text(t *testing.T, query string) (text string) {
	t.Helper()
	if err := f.db.QueryRow(t.Context(), query).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

// hook writes a function of the application and names it.
func (f *front) hook(t *testing.T, hook, body string) {
	t.Helper()
	f.exec(t, `CREATE OR REPLACE FUNCTION app.`+hook+`(event jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN `+body+`; END $$`,
		`GRANT USAGE ON SCHEMA app TO tide_owner`, `SELECT tide.set_hook('`+hook+`', 'app.`+hook+`')`)
}

// A push goes through if the application takes it, and otherwise nothing of it stays.
func TestApplicationRefusesAPush(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{RequestTimeout: 5 * time.Second})
	d := f.device("u1", "phone").connect(t)
	row := task("INSERT", taskA, 0, `"title":"first","rank":9007199254740993`)
	f.exec(t, `CREATE TABLE app.bill (id int PRIMARY KEY, task_id uuid REFERENCES app.task DEFERRABLE INITIALLY DEFERRED)`, `GRANT INSERT ON app.bill TO tide_owner`)
	for name, test := range map[string]struct {
		body, state, message string
		status               int
		code                 string
	}{
		"in its own words":             {`RAISE EXCEPTION 'no more than % tasks today.', 3 USING HINT = 'Come back tomorrow.'`, "P0001", "no more than 3 tasks today. Come back tomorrow.", 422, "push_refused"},
		"with a state of its own":      {`RAISE EXCEPTION 'closed' USING ERRCODE = 'ZZ001', DETAIL = 'Since five.'`, "ZZ001", "closed: Since five. Nothing was applied.", 422, "push_refused"},
		"by a mistake":                 {`PERFORM secret FROM app.nothing`, "42P01", "the application refuses this push. Nothing was applied.", 422, "push_refused"},
		"by a constraint at the end":   {`INSERT INTO app.bill VALUES (1, gen_random_uuid())`, "23503", "the application refuses this push. Nothing was applied.", 422, "push_refused"},
		"after writing something":      {`INSERT INTO app.bill VALUES (1, (event #>> '{rows,0,key,id}')::uuid); PERFORM 1 / 0`, "22012", "the application refuses this push. Nothing was applied.", 422, "push_refused"},
		"with what passes":             {`RAISE EXCEPTION 'x' USING ERRCODE = '40001'`, "", "", 503, "service_unavailable"},
		"by taking longer than anyone": {`PERFORM pg_sleep(60)`, "", "", 503, "service_unavailable"},
	} {
		f.hook(t, "before_push_commit", test.body)
		got := d.post(t, "/sync/push", pushOf(1, row)).is(t, test.status, test.code)
		if test.status == 422 && (got.field(t, "message") != test.message || got.field(t, "sqlstate") != test.state || got.field(t, "retryable") != "false") {
			t.Errorf("%s: %s", name, got.body)
		}
		if left := f.text(t, `SELECT concat_ws(' ', (SELECT count(*) FROM app.task), (SELECT count(*) FROM app.bill), (SELECT count(*) FROM tide.push_log), (SELECT count(*) FROM tide.change_log WHERE op = 'I'))`); left != "0 0 0 0" {
			t.Errorf("%s left %s", name, left)
		}
	}
	// In chunks too; then the number is free, and the hook sees the push and who it is, and writes into it.
	f.hook(t, "before_push_commit", `RAISE EXCEPTION 'no'`)
	session := d.session(t, 1, 1)
	d.post(t, session+"/chunks", chunkOf(0, row)).is(t, 200, "")
	d.post(t, session+"/commit", "").is(t, 422, "push_refused")
	f.exec(t, `CREATE TABLE app.seen (event jsonb, by_user text, title text)`, `GRANT INSERT ON app.seen TO tide_owner`)
	f.hook(t, "before_push_commit", `INSERT INTO app.seen SELECT event, current_setting('app.user_id'), t.title FROM app.task AS t; UPDATE app.task SET done = true`)
	f.exec(t, `GRANT UPDATE ON app.task TO tide_owner`)
	d.post(t, session+"/commit", "").is(t, 200, "")
	want := `{"rows": [{"op": "INSERT", "key": {"id": "` + taskA + `"}, "table": "task", "schema": "app", "payload": {"rank": 9007199254740993, "title": "first"}, "base_row_version": 0}], "user_id": "u1", "source_id": "phone", "source_bundle_id": 1} u1 first`
	if got := f.text(t, `SELECT concat_ws(' ', s.event, s.by_user, s.title) FROM app.seen AS s`); got != want {
		t.Errorf("the hook was told %s", got)
	}
	if pulled := d.get(t, "/sync/pull").is(t, 200, ""); strings.Count(pulled.body, `"bundle_seq"`) != 1 || !strings.Contains(pulled.body, `"done":true`) {
		t.Errorf("what the hook wrote is no part of the push: %s", pulled.body)
	}
	// A retry was judged before, and a hook that is gone refuses.
	f.exec(t, `DROP FUNCTION app.before_push_commit`)
	d.post(t, session+"/commit", "").is(t, 200, "")
	d.post(t, "/sync/push", pushOf(2, task("DELETE", taskA, 1, ""))).is(t, 422, "push_refused")
	f.exec(t, `SELECT tide.set_hook('before_push_commit', NULL)`)
	d.push(t, 2, task("DELETE", taskA, 1, ""))
}

// What happened is told until it was taken, whatever the hook does meanwhile, and is in nobody's way.
func TestHooksAreToldUntilTheyHaveIt(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("u1", "phone").connect(t)
	f.exec(t, `CREATE TABLE app.told (event jsonb)`, `GRANT INSERT ON app.told TO tide_owner`, `GRANT INSERT, UPDATE ON app.note TO tide_owner`)
	tell := func() {
		t.Helper()
		f.server.config.RequestTimeout = 3 * time.Second
		defer func() { f.server.config.RequestTimeout = 30 * time.Second }()
		f.exec(t, `UPDATE tide.hook_event SET next_try_at = now()`)
		if err := f.server.tellWaiting(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.hook(t, "on_conflict", `PERFORM pg_sleep(60)`)
	f.hook(t, "on_stale", `RAISE EXCEPTION 'not now'`)
	f.hook(t, "on_seal", `INSERT INTO app.told VALUES (event); INSERT INTO app.note SELECT coalesce(max(id), 0) + 1, 'u2' FROM app.note HAVING count(*) < 2`)
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"first"`))
	f.exec(t, `UPDATE app.task SET title = 'psql'`)
	d.post(t, "/sync/push", pushOf(2, task("UPDATE", taskA, 1, `"title":"stale"`))).is(t, 409, "push_conflict")
	d.get(t, "/sync/pull?after_bundle_seq=99").is(t, 409, "history_pruned")
	d.get(t, "/sync/pull?max_bundles=0").is(t, 400, "invalid_request")
	tell() // seals of the push and of psql's; what the hook wrote is not sealed yet
	if got := f.text(t, `SELECT string_agg(concat_ws(' ', t.event ->> 'first_bundle_id', t.event ->> 'last_bundle_id', t.event ->> 'event_id' IS NOT NULL), ',' ORDER BY t.event ->> 'seal_id') FROM app.told AS t`); got != "2 2 t,3 3 t" {
		t.Errorf("on_seal was told %s", got)
	}
	waiting := `SELECT coalesce(string_agg(concat_ws(' ', e.hook, e.event ->> 'user_id', e.event ->> 'reason', e.event #>> '{conflicts,0,server_row,title}', e.attempts > 0, e.error), ', ' ORDER BY e.hook, e.event_id), '') FROM tide.hook_events AS e`
	// The conflict is judged twice, because the version of psql's change is known after a seal.
	if got := f.text(t, waiting); got != "on_conflict u1 psql t not finished, on_conflict u1 psql t not finished, on_stale u1 history_pruned t P0001: not now" {
		t.Errorf("waiting: %s", got)
	}
	if got := f.text(t, `SELECT coalesce(string_agg(c.finding, ',' ORDER BY c.finding), '') FROM tide.check() AS c WHERE c.finding ~ 'hook'`); got != "" {
		t.Errorf("too early: %s", got)
	}
	f.exec(t, `UPDATE tide.hook_event SET attempts = 4`)
	if got := f.text(t, `SELECT coalesce(string_agg(c.finding, ',' ORDER BY c.finding), '') FROM tide.check() AS c WHERE c.finding ~ 'hook'`); got != "hook on_conflict fails,hook on_stale fails" {
		t.Errorf("tide.check says %q", got)
	}
	f.hook(t, "on_conflict", `INSERT INTO app.told VALUES (event)`)
	f.hook(t, "on_stale", `INSERT INTO app.told VALUES (event)`)
	tell()
	if got := f.text(t, waiting); got != "" {
		t.Errorf("still waiting: %s", got)
	}
	f.exec(t, `SELECT tide.seal()`)
	tell()
	f.exec(t, `SELECT tide.seal()`)
	tell()
	if got := f.text(t, `SELECT concat_ws(' ', count(*), count(DISTINCT t.event ->> 'event_id'), count(DISTINCT t.event ->> 'seal_id'), (SELECT count(*) FROM app.note)) FROM app.told AS t`); got != "6 6 3 2" {
		t.Errorf("told: %s", got)
	}
	// A device that must fetch buckets again is stale as well.
	cursor := f.device("u1", "tablet").post(t, "/sync/connect", `{"has_local_pending_rows":false,"buckets":true,"positions":{"user:u1":{"bundle_id":1,"seal":"1-`+nowhere+`"}}}`).is(t, 200, "")
	if !strings.Contains(cursor.body, `"repair":["user:u1"]`) {
		t.Fatal(cursor.body)
	}
	if got := f.text(t, `SELECT string_agg(concat_ws(' ', e.hook, e.event ->> 'source_id', e.event ->> 'reason', e.event ->> 'buckets'), ',') FROM tide.hook_events AS e`); got != `on_stale tablet repair ["user:u1"]` {
		t.Errorf("waiting: %s", got)
	}
	f.exec(t, `SELECT tide.set_hook('on_stale', NULL)`)
	if got := f.text(t, waiting); got != "" {
		t.Errorf("still waiting: %s", got)
	}
}

func TestHooksThatCannotBe(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	f.exec(t, `CREATE FUNCTION app.takes_text(event text) RETURNS void LANGUAGE sql AS 'SELECT'`, `CREATE FUNCTION app.says(event jsonb) RETURNS text LANGUAGE sql AS 'SELECT event::text'`,
		`CREATE FUNCTION app.closed(event jsonb) RETURNS void LANGUAGE sql AS 'SELECT'`, `REVOKE ALL ON FUNCTION app.closed FROM PUBLIC`)
	for _, arguments := range []string{`'on_push', 'app.closed'`, `NULL, NULL`, `'on_seal', 'app.nothing'`, `'on_seal', 'app.takes_text'`, `'on_seal', 'app.takes_text(text)'`, `'on_seal', 'app.says'`, `'on_seal', 'app.closed'`} {
		_, err := f.db.Exec(t.Context(), `SELECT tide.set_hook(`+arguments+`)`)
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "TD033" || refused.Detail == "" {
			t.Errorf("%s: %v", arguments, err)
		}
	}
}
