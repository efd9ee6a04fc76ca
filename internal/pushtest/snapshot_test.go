package pushtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// snapshotAt takes a snapshot as the runtime does: one connection seals on the snapshot of another,
// before which the lock of sealing was taken. It returns the session and the position.
func snapshotAt(ctx context.Context, db *pgtest.DB, user string, read func(tx pgx.Tx, position int64) error) error {
	sealing, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	defer sealing.Rollback(ctx) //nolint:errcheck // committed below
	if _, err := sealing.Exec(ctx, `LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
		return err
	}
	reading, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	defer reading.Rollback(ctx) //nolint:errcheck // committed below
	var name string
	if err := reading.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&name); err != nil {
		return err
	}
	if _, err := sealing.Exec(ctx, `SET TRANSACTION SNAPSHOT `+quote(name)); err != nil {
		return err
	}
	if _, err := sealing.Exec(ctx, `SELECT tide.seal()`); err != nil {
		return err
	}
	var position int64
	if err := sealing.QueryRow(ctx, `SELECT head_seq FROM tide.bucket_position(tide.home_bucket($1))`, user).Scan(&position); err != nil {
		return err
	}
	if err := sealing.Commit(ctx); err != nil {
		return err
	}
	if err := read(reading, position); err != nil {
		return err
	}
	return reading.Commit(ctx)
}

const snapshotSchema = `
	CREATE SCHEMA app;
	CREATE TABLE app.list (id int PRIMARY KEY, owner_id text NOT NULL, n int NOT NULL DEFAULT 0);
	CREATE TABLE app.note (id int PRIMARY KEY, owner_id text NOT NULL, list_id int REFERENCES app.list ON DELETE SET NULL, n int NOT NULL DEFAULT 0, body text, deleted_at timestamptz);
	INSERT INTO app.list SELECT g, 'user' || g % 3 FROM generate_series(1, 30) AS g;
	INSERT INTO app.note SELECT g, 'user' || g % 3, 1 + g % 30, 0, repeat('x', g % 50) FROM generate_series(1, 600) AS g;
	SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'owner_only', deleted_at_column => 'deleted_at');
	SELECT tide.register_table('app.list', owner_column => 'owner_id', push_policy => 'owner_only')`

// Under continuous writes and rival sealers, a snapshot is what the log says the bucket held at its
// position, in chunks of any size and as a stream; with the bundles after it, it becomes the table.
func TestSnapshotAndPull(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, snapshotSchema)
	exec(t, db, `SELECT tide.seal()`)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for ctx.Err() == nil {
				id := 1 + random.IntN(600)
				statement := []string{
					`UPDATE app.note SET n = n + 1 WHERE id = %d`,
					`UPDATE app.note SET owner_id = 'user' || n %% 3, n = n + 1 WHERE id = %d`,
					`UPDATE app.note SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END, n = n + 1 WHERE id = %d`,
					`DELETE FROM app.note WHERE id = %d`,
					`INSERT INTO app.note VALUES (%[1]d, 'user' || %[1]d %% 3, 1, 1) ON CONFLICT (id) DO UPDATE SET n = excluded.n + app.note.n`,
					`WITH l AS (UPDATE app.list SET n = n + 1 WHERE id = 1 + %[1]d %% 30) UPDATE app.note SET n = n + 1 WHERE list_id = 1 + %[1]d %% 30`,
				}[random.IntN(6)]
				if _, err := db.Exec(context.WithoutCancel(ctx), fmt.Sprintf(statement, id)); err != nil && !deadlock(err) {
					t.Error(err)
				}
			}
		})
	}
	for range 2 { // rival sealers
		group.Go(func() {
			for ctx.Err() == nil {
				if _, err := db.Exec(context.WithoutCancel(ctx), `SELECT tide.seal()`); err != nil {
					t.Error(err)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	exact := 0
	for round := range 24 {
		user := fmt.Sprintf("user%d", round%3)
		var snapshot string
		var position, rows int64
		streamed := map[string]string{}
		err := snapshotAt(t.Context(), db, user, func(tx pgx.Tx, at int64) error {
			position = at
			if err := tx.QueryRow(t.Context(), `SELECT snapshot_id, row_count FROM tide.create_snapshot_session($1, 'phone', $2)`, user, at).Scan(&snapshot, &rows); err != nil {
				return err
			}
			if _, err := tx.Exec(t.Context(), `SELECT tide.open_snapshot($1)`, user); err != nil {
				return err
			}
			for fetched := 1; fetched > 0; {
				result, err := tx.Query(t.Context(), `FETCH 7 FROM tide_snapshot`)
				if err != nil {
					return err
				}
				fetched = 0
				var schema, table, key, payload string
				if _, err := pgx.ForEachRow(result, []any{&schema, &table, &key, &payload}, func() error {
					fetched++
					streamed[table+key] = payload
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		chunked := map[string]string{}
		size := []int{1, 7, 100, 5000}[round%4]
		for after := int64(0); after < rows; {
			result, err := db.Query(t.Context(), `SELECT row_ordinal, table_name, key::text, payload::text FROM tide.snapshot_rows($1, $2, $3, $4)`, user, snapshot, after, size)
			if err != nil {
				t.Fatal(err)
			}
			var ordinal int64
			var table, key, payload string
			if _, err := pgx.ForEachRow(result, []any{&ordinal, &table, &key, &payload}, func() error {
				if after++; ordinal != after {
					return fmt.Errorf("row %d comes as %d", after, ordinal)
				}
				chunked[table+key] = payload
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		differ(t, fmt.Sprintf("round %d: stream and chunks", round), streamed, chunked)
		if round%4 > 0 {
			differ(t, fmt.Sprintf("round %d: chunks as they are sent", round), sentChunks(t, db, user, snapshot, rows, int64(size)), chunked)
		}
		// What the log says of every key it knows must be what the snapshot holds.
		held := chunked
		for key, last := range logged(t, db, user, position) {
			if held[key] != last {
				t.Fatalf("round %d: at %d the log says of %s\n%q, the snapshot\n%q", round, position, key, last, held[key])
			}
			exact++
		}
		exec(t, db, fmt.Sprintf(`SELECT tide.delete_snapshot_session(%s, %s)`, quote(user), quote(snapshot)))
		if round >= 21 {
			stop()
			group.Wait()
			exec(t, db, `SELECT tide.seal()`)
			for key, last := range logged(t, db, user, 1<<40) {
				if held[key] = last; last == "" {
					delete(held, key)
				}
			}
			differ(t, "snapshot and bundles, and the table of "+user, held, tableOf(t, db, user))
		}
	}
	if exact < 1000 {
		t.Errorf("only %d rows of snapshots were in the log", exact)
	}
	if left := value[int64](t, db, `SELECT (SELECT count(*) FROM tide.snapshot_session) + (SELECT count(*) FROM tide.snapshot_page)`); left != 0 {
		t.Errorf("%d rows of snapshots are left", left)
	}
	if open := value[int64](t, db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'`); open != 0 {
		t.Errorf("%d transactions are held open", open)
	}
}

// sentChunks is a snapshot as devices get it.
func sentChunks(t *testing.T, db *pgtest.DB, user, snapshot string, rows, size int64) map[string]string {
	t.Helper()
	sent := map[string]string{}
	for after := int64(0); after < rows; after += size {
		var count int64
		var text string
		if err := db.QueryRow(t.Context(), `SELECT sum(row_count), '[' || string_agg(rows, ',') || ']' FROM tide.snapshot_chunk($1, $2, $3, $4)`, user, snapshot, after, size).Scan(&count, &text); err != nil {
			t.Fatal(err)
		}
		var items []struct {
			Table        string
			Key, Payload json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &items); err != nil || count != int64(len(items)) || count != min(size, rows-after) {
			t.Fatalf("after %d: %d rows, said to be %d: %v", after, len(items), count, err)
		}
		for _, item := range items {
			sent[item.Table+string(item.Key)] = string(item.Payload)
		}
	}
	return sent
}

// logged is the newest state of every key that a user's bundles up to a position tell of; empty for a row that is gone.
func logged(t *testing.T, db *pgtest.DB, user string, position int64) map[string]string {
	t.Helper()
	result, err := db.Query(t.Context(), `
		SELECT DISTINCT ON (table_name, key::text) table_name || key::text, CASE WHEN op <> 'DELETE' THEN payload::text ELSE '' END
		  FROM tide.changes WHERE bucket_id = 'user:' || $1 AND bundle_seq <= $2 ORDER BY table_name, key::text, bundle_seq DESC`, user, position)
	if err != nil {
		t.Fatal(err)
	}
	return pairs(t, result)
}

func tableOf(t *testing.T, db *pgtest.DB, user string) map[string]string {
	t.Helper()
	result, err := db.Query(t.Context(), `
		SELECT 'note{"id":"' || r.id || '"}', row_to_json(r)::text FROM app.note AS r WHERE owner_id = $1 AND deleted_at IS NULL
		 UNION ALL SELECT 'list{"id":"' || r.id || '"}', row_to_json(r)::text FROM app.list AS r WHERE owner_id = $1`, user)
	if err != nil {
		t.Fatal(err)
	}
	return pairs(t, result)
}

func pairs(t *testing.T, result pgx.Rows) map[string]string {
	t.Helper()
	held := map[string]string{}
	var key, payload string
	if _, err := pgx.ForEachRow(result, []any{&key, &payload}, func() error { held[key] = payload; return nil }); err != nil {
		t.Fatal(err)
	}
	return held
}

func differ(t *testing.T, what string, a, b map[string]string) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%s: %d and %d rows", what, len(a), len(b))
	}
	for key, payload := range a {
		if b[key] != payload {
			t.Errorf("%s: %s is\n%q and\n%q", what, key, payload, b[key])
			return
		}
	}
}

func deadlock(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "40P01"
}

// A snapshot by hand, in one transaction, as docs and errors say.
func TestSnapshotByHand(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, snapshotSchema)
	exec(t, db, `SELECT tide.seal()`)
	exec(t, db, `INSERT INTO app.note VALUES (1000, 'user1')`)
	if got := code(t, db, `SELECT tide.create_snapshot_session('user1', 'phone', 1)`); got != "TD128" {
		t.Errorf("under READ COMMITTED: %s", got)
	}
	tx, err := db.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // committed below
	for _, sql := range []string{
		`LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE`, `SELECT tide.seal()`,
		`SELECT tide.create_snapshot_session('user1', 'phone', (SELECT head_seq FROM tide.bucket_position('user:user1')))`,
	} {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows, at := value[int64](t, db, `SELECT row_count FROM tide.snapshot_session`), value[int64](t, db, `SELECT snapshot_bundle_seq FROM tide.snapshot_session`); rows != 211 || at != 2 {
		t.Errorf("%d rows at position %d", rows, at)
	}
}

// Sessions belong to whom made them, are bounded in number and age, and a large one is refused.
func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, snapshotSchema)
	exec(t, db, `UPDATE tide.setting SET max_push_sessions = 2, max_snapshot_sessions = 2, max_rows_per_push = 3, max_rows_per_chunk = 2`)
	for _, user := range []string{"user1", "user2"} {
		connected(t, db, user)
	}
	session := func(user, source string) string {
		return value[string](t, db, `SELECT push_id::text FROM tide.create_push_session($1, $2, 1, 3)`, user, source)
	}
	first := session("user1", "a")
	second := session("user1", "b")
	chunk := func(user, source, id string, start int, rows string) string {
		return code(t, db, fmt.Sprintf(`SELECT tide.add_push_chunk(%s, %s, %s, %d, %s)`, quote(user), quote(source), quote(id), start, quote(rows)))
	}
	note := func(id int) string {
		return fmt.Sprintf(`{"schema":"app","table":"note","key":{"id":"%d"},"op":"INSERT","payload":{}}`, id)
	}
	for name, c := range map[string]struct{ got, want string }{
		"a third session":             {code(t, db, `SELECT tide.create_push_session('user1', 'c', 1, 1)`), "TD125"},
		"of another user":             {code(t, db, `SELECT tide.create_push_session('user2', 'a', 1, 1)`), ""},
		"too many rows planned":       {code(t, db, `SELECT tide.create_push_session('user2', 'a', 1, 4)`), "TD127"},
		"too many rows at once":       {code(t, db, fmt.Sprintf(`SELECT tide.push('user1', 'z', 1, '[%s,%s,%s,%s]')`, note(9001), note(9002), note(9003), note(9004))), "TD127"},
		"of another user, forged":     {chunk("user2", "a", first, 0, "["+note(9001)+"]"), "TD106"},
		"of another source":           {chunk("user1", "b", first, 0, "["+note(9001)+"]"), "TD106"},
		"none":                        {chunk("user1", "a", "00000000-0000-0000-0000-000000000000", 0, "["+note(9001)+"]"), "TD105"},
		"out of order":                {chunk("user1", "a", first, 1, "["+note(9001)+"]"), "TD104"},
		"negative":                    {chunk("user1", "a", first, -1, "["+note(9001)+"]"), "TD102"},
		"a large chunk":               {chunk("user1", "a", first, 0, "["+note(9001)+","+note(9002)+","+note(9003)+"]"), "TD102"},
		"commit of another, forged":   {code(t, db, fmt.Sprintf(`SELECT tide.commit_push_session('user2', 'a', %s)`, quote(first))), "TD106"},
		"deletion of another, forged": {code(t, db, fmt.Sprintf(`SELECT tide.delete_push_session('user2', 'a', %s)`, quote(first))), "TD106"},
		"commit before it is there":   {code(t, db, fmt.Sprintf(`SELECT tide.commit_push_session('user1', 'a', %s)`, quote(first))), "TD103"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
	if got := chunk("user1", "a", first, 0, "["+note(9001)+","+note(9002)+"]") + chunk("user1", "a", first, 0, "["+note(9001)+","+note(9002)+"]"); got != "" {
		t.Errorf("the newest chunk, sent again: %s", got)
	}
	if got := chunk("user1", "a", first, 0, "["+note(9001)+"]"); got != "TD104" {
		t.Errorf("another chunk in its place: %s", got)
	}
	if got := chunk("user1", "a", first, 2, "["+note(9003)+","+note(9004)+"]"); got != "TD102" {
		t.Errorf("more than planned: %s", got)
	}
	if got := chunk("user1", "a", first, 2, "["+note(9001)+"]"); got != "" {
		t.Error(got)
	}
	if got := code(t, db, fmt.Sprintf(`SELECT tide.commit_push_session('user1', 'a', %s)`, quote(first))); got != "TD103" {
		t.Errorf("a key in two chunks: %s", got)
	}
	exec(t, db, `UPDATE tide.push_session SET expires_at = now() WHERE source_id = 'b'`)
	if got := chunk("user1", "b", second, 0, "["+note(9001)+"]"); got != "TD107" {
		t.Errorf("expired: %s", got)
	}
	if ended := value[int64](t, db, `SELECT tide.clean_sessions()`); ended != 1 {
		t.Errorf("%d sessions were ended", ended)
	}
	var snapshots []string
	for _, source := range []string{"a", "b", "b"} { // the last one ends the one before
		if err := snapshotAt(t.Context(), db, "user1", func(tx pgx.Tx, at int64) error {
			var id string
			err := tx.QueryRow(t.Context(), `SELECT snapshot_id FROM tide.create_snapshot_session('user1', $1, $2)`, source, at).Scan(&id)
			snapshots = append(snapshots, id)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(want string) {
		t.Helper()
		var pgErr *pgconn.PgError
		err := snapshotAt(t.Context(), db, "user1", func(tx pgx.Tx, at int64) error {
			_, err := tx.Exec(t.Context(), `SELECT tide.create_snapshot_session('user1', 'c', $1)`, at)
			return err
		})
		if !errors.As(err, &pgErr) || pgErr.Code != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	refused("TD125")
	exec(t, db, fmt.Sprintf(`SELECT tide.delete_snapshot_session('user1', %s)`, quote(snapshots[0])))
	exec(t, db, `UPDATE tide.setting SET max_rows_per_snapshot = 100`)
	refused("TD124")
	exec(t, db, `UPDATE tide.setting SET max_rows_per_snapshot = 1000, max_bytes_per_snapshot = 1000`)
	refused("TD124")
	if got := code(t, db, fmt.Sprintf(`SELECT tide.snapshot_rows('user2', %s)`, quote(snapshots[2]))); got != "TD120" {
		t.Errorf("a snapshot of somebody else: %s", got)
	}
	if got := code(t, db, fmt.Sprintf(`SELECT tide.snapshot_rows('user1', %s, -1)`, quote(snapshots[2]))); got != "TD122" {
		t.Errorf("before the first row: %s", got)
	}
	exec(t, db, `UPDATE tide.snapshot_session SET expires_at = now()`)
	if got := code(t, db, fmt.Sprintf(`SELECT tide.snapshot_rows('user1', %s)`, quote(snapshots[2]))); got != "TD121" {
		t.Errorf("expired: %s", got)
	}
	if ended := value[int64](t, db, `SELECT tide.clean_sessions()`); ended != 1 {
		t.Errorf("%d snapshots were ended", ended)
	}
	if left := value[int64](t, db, `SELECT count(*) FROM tide.snapshot_page`); left != 0 {
		t.Errorf("%d rows are left", left)
	}
}

// What another device of the user takes meanwhile is no failure: there is another slot.
func TestSnapshotsOfOneUserAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, snapshotSchema)
	exec(t, db, `SELECT tide.seal()`)
	exec(t, db, `UPDATE tide.setting SET max_snapshot_sessions = 2`)
	for range 6 { // slots are taken in any order
		if err := snapshotAt(t.Context(), db, "user1", func(tx pgx.Tx, at int64) error {
			if err := snapshotAt(t.Context(), db, "user1", func(other pgx.Tx, at int64) error {
				_, err := other.Exec(t.Context(), `SELECT tide.create_snapshot_session('user1', 'a', $1)`, at)
				return err
			}); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), `SELECT tide.create_snapshot_session('user1', 'b', $1)`, at)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		exec(t, db, `TRUNCATE tide.snapshot_session, tide.snapshot_page`)
	}
}
