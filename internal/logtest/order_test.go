package logtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
)

const (
	itemOwners = 4
	itemKeys   = 3000
)

// itemSchema is a table whose rows tell their history: version counts the changes of a row, and
// saw names a row and version that the writing transaction had read before.
const itemSchema = `
CREATE SCHEMA app;
CREATE TABLE app.item (id int PRIMARY KEY, owner int, version int NOT NULL, saw_id int, saw_version int, note text);
CREATE TABLE app.committed (xid xid8 PRIMARY KEY);
INSERT INTO app.item SELECT g, g % 4, 0, NULL, NULL, repeat('x', g % 50) FROM generate_series(1, 3000) AS g;
SELECT tide.register_table('app.item', owner_column => 'owner');`

// Hundreds of writers with transactions of random length, savepoints, rollbacks and prepared
// transactions; one transaction open throughout, a snapshot held throughout, three sealers, and
// readers that pull all the time.
func TestEveryCommittedChangeIsInExactlyOneBundle(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, itemSchema)
	seal(t, db)
	replicas := itemReplicas(t, db)

	held := db.Connect(t, db.URL)
	must(t, held, `BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT count(*) FROM app.item`)
	open := db.Connect(t, db.URL)
	must(t, open, `BEGIN`, `INSERT INTO app.item VALUES (100001, 1, 0, NULL, NULL, 'open throughout')`)

	runWriters(t, db, 200, 8*time.Second, replicas)

	none(t, db, "changes of a transaction that is still open", `SELECT * FROM tide.changes WHERE key ->> 'id' = '100001'`)
	must(t, open, `COMMIT`)
	none(t, db, "dead rows in the log while a snapshot is held", `
		SELECT relname, n_dead_tup FROM pg_stat_user_tables WHERE schemaname = 'tide' AND n_dead_tup > 0 AND relname ~ '^(bundle|seal)_log'`)
	must(t, held, `COMMIT`)
	finishItems(t, db, replicas)
}

// The server is killed again and again, with writers, sealers and readers at work.
func TestAKilledServerLosesNothingThatWasCommitted(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := pgtest.NewOn(t, cluster)
	exec(t, db, itemSchema)
	seal(t, db)
	replicas := itemReplicas(t, db)
	for range 3 {
		var killed sync.WaitGroup
		killed.Go(func() {
			time.Sleep(1500 * time.Millisecond)
			if err := cluster.Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		})
		runWriters(t, db, 40, 2*time.Second, replicas)
		killed.Wait()
		if err := cluster.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		db.Reset()
		// Writers would wait for what a killed one had prepared.
		finishPrepared(t, db)
	}
	finishItems(t, db, replicas)
}

func itemReplicas(t *testing.T, db *pgtest.DB) []*replica {
	t.Helper()
	var replicas []*replica
	for owner := range itemOwners {
		replicas = append(replicas, newReplica(t, db, fmt.Sprintf("user:%d", owner), "app.item", itemQuery(owner)))
	}
	return replicas
}

func itemQuery(owner int) string {
	return fmt.Sprintf(`SELECT '{"id":"' || i.id || '"}', row_to_json(i)::text FROM app.item AS i WHERE i.owner = %d`, owner)
}

func finishItems(t *testing.T, db *pgtest.DB, replicas []*replica) {
	t.Helper()
	finishPrepared(t, db)
	seal(t, db)
	for owner, r := range replicas {
		if err := r.pull(t.Context(), db.Pool, 7); err != nil {
			t.Errorf("%s: %v", r.bucket, err)
		}
		same(t, r.bucket, r.rows, query1(t, db, "app.item", itemQuery(owner)))
		if r.bundles == 0 {
			t.Errorf("%s: the replica saw no bundle at all", r.bucket)
		}
	}
	checkLog(t, db)
	none(t, db, "sealed transactions that did not commit", `
		SELECT DISTINCT b.xid FROM tide.bundle_log AS b WHERE b.label IS NULL AND b.xid NOT IN (SELECT xid FROM app.committed)
		   AND b.xid NOT IN (SELECT c.xid FROM tide.change_log AS c WHERE c.row_key = '{"id":"100001"}')`)
	none(t, db, "committed transactions with changes that were never sealed", `
		SELECT DISTINCT c.xid FROM tide.change_log AS c WHERE c.op IN ('I', 'U', 'D') AND tide.position_of(c.xid) IS NULL`)
	none(t, db, "versions of a row that go back", `
		SELECT * FROM (SELECT key ->> 'id' AS id, (payload ->> 'version')::int AS version, bundle_id,
		                      lag((payload ->> 'version')::int) OVER (PARTITION BY key ->> 'id' ORDER BY bundle_id) AS before
		                 FROM (SELECT DISTINCT ON (bundle_id, key ->> 'id') bundle_id, key, payload FROM tide.changes WHERE op <> 'DELETE'
		                        ORDER BY bundle_id, key ->> 'id') AS c) AS v
		 WHERE v.version < v.before`)
	none(t, db, "transactions that come before one whose row they had read", `
		SELECT w.bundle_id, r.bundle_id
		  FROM tide.changes AS w
		  JOIN tide.changes AS r ON r.key ->> 'id' = w.payload ->> 'saw_id' AND r.payload ->> 'version' = w.payload ->> 'saw_version'
		                        AND r.op <> 'DELETE'
		 WHERE r.bundle_id > w.bundle_id
		   AND NOT EXISTS (SELECT FROM tide.changes AS e WHERE e.key ->> 'id' = w.payload ->> 'saw_id'
		                      AND e.payload ->> 'version' = w.payload ->> 'saw_version' AND e.bundle_id <= w.bundle_id)`)
}

// runWriters lets writers, three sealers and the readers work for a while. Errors that a killed
// server or a conflict between writers explains end the transaction, and nothing else.
func runWriters(t *testing.T, db *pgtest.DB, writers int, duration time.Duration, replicas []*replica) {
	t.Helper()
	// Writers queue for connections and wait for each other; sealers and readers must not wait with them.
	config := db.Config().Copy()
	config.MaxConns = 100
	config.ConnConfig.RuntimeParams["deadlock_timeout"] = "30ms"
	busy, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	var group sync.WaitGroup
	var commits, seals atomic.Int64
	for w := range writers {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), uint64(duration)))
			for ctx.Err() == nil {
				if err := writeItems(context.WithoutCancel(ctx), busy, random); err == nil {
					commits.Add(1)
				} else if !explained(err) {
					t.Errorf("writer: %v", err)
					return
				}
			}
		})
	}
	for range 3 {
		group.Go(func() {
			for ctx.Err() == nil {
				if _, err := db.Exec(context.WithoutCancel(ctx), `SELECT tide.seal()`); err == nil {
					seals.Add(1)
				} else if !explained(err) {
					t.Errorf("sealer: %v", err)
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	for _, r := range replicas {
		group.Go(func() {
			for ctx.Err() == nil {
				if err := r.pull(context.WithoutCancel(ctx), db.Pool, 50); err != nil && !explained(err) {
					t.Errorf("reader: %v", err)
					return
				}
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	group.Wait()
	t.Logf("%d transactions committed, %d seals", commits.Load(), seals.Load())
}

func writeItems(ctx context.Context, pool *pgxpool.Pool, random *rand.Rand) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // committed by then, or to be rolled back
	// Behind a pooler, those who wait for a prepared transaction may hold every connection that could end it.
	if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '3s'`); err != nil {
		return err
	}
	for range 1 + random.IntN(5) {
		if err := writeItem(ctx, tx, random); err != nil {
			return err
		}
		if random.IntN(4) == 0 {
			time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
		}
		if random.IntN(5) == 0 {
			if err := inSavepoint(ctx, tx, random); err != nil {
				return err
			}
		}
	}
	if _, err := tx.Exec(ctx, `INSERT INTO app.committed VALUES (pg_current_xact_id())`); err != nil {
		return err
	}
	switch random.IntN(10) {
	case 0:
		return tx.Rollback(ctx)
	case 1:
		name := fmt.Sprintf("tide_%d", random.Int64())
		if _, err := tx.Exec(ctx, `PREPARE TRANSACTION '`+name+`'`); err != nil {
			return err
		}
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		verb := "COMMIT"
		if random.IntN(3) == 0 {
			verb = "ROLLBACK"
		}
		_, err := conn.Exec(ctx, verb+` PREPARED '`+name+`'`)
		return err
	default:
		return tx.Commit(ctx)
	}
}

func inSavepoint(ctx context.Context, tx pgx.Tx, random *rand.Rand) error {
	nested, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	if err := writeItem(ctx, nested, random); err != nil {
		return errors.Join(err, nested.Rollback(ctx))
	}
	if random.IntN(2) == 0 {
		return nested.Rollback(ctx)
	}
	return nested.Commit(ctx)
}

func writeItem(ctx context.Context, tx pgx.Tx, random *rand.Rand) error {
	id, owner, other := 1+random.IntN(itemKeys), random.IntN(itemOwners), 1+random.IntN(itemKeys)
	const saw = `(SELECT s.id FROM app.item AS s WHERE s.id = $3), (SELECT s.version FROM app.item AS s WHERE s.id = $3)`
	var err error
	switch random.IntN(10) {
	case 0, 1:
		_, err = tx.Exec(ctx, `INSERT INTO app.item (id, owner, version, saw_id, saw_version)
			SELECT $1, $2, coalesce((SELECT max((c.payload ->> 'version')::int) FROM tide.change_log AS c WHERE c.row_key = format('{"id":"%s"}', $1::int)), 0) + 1000, `+saw+`
			ON CONFLICT (id) DO UPDATE SET version = item.version + 1`, id, owner, other)
	case 2:
		_, err = tx.Exec(ctx, `DELETE FROM app.item WHERE id = $1`, id)
	case 3:
		_, err = tx.Exec(ctx, `UPDATE app.item SET owner = $2, version = version + 1 WHERE id = $1`, id, owner)
	case 4:
		_, err = tx.Exec(ctx, `UPDATE app.item SET version = version + 1 WHERE id BETWEEN $1 AND $1 + 8`, id)
	default:
		_, err = tx.Exec(ctx, `UPDATE app.item SET version = version + 1, owner = coalesce(owner, $2), (saw_id, saw_version) = (SELECT s.id, s.version FROM app.item AS s WHERE s.id = $3) WHERE id = $1`, id, owner, other)
	}
	return err
}

// explained are the errors that concurrency and a killed server bring.
func explained(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		switch pgErr.Code[:2] {
		case "40", "57", "08", "55", "53":
			return true
		}
		return pgErr.Code == "23505" || pgErr.Code == "42704" // a prepared transaction that the kill took
	}
	return true // the connection broke
}

func finishPrepared(t *testing.T, db *pgtest.DB) {
	t.Helper()
	result, err := db.Query(t.Context(), `SELECT gid FROM pg_prepared_xacts WHERE database = current_database()`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(result, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		exec(t, db, `COMMIT PREPARED '`+name+`'`)
	}
}

func must(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
