package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/runtime/sealer"
)

// A table as applications have it: a primary key, an index on the owner, some 250 bytes as JSON. A
// bigint key is the harshest comparison, as nothing costs less to insert.
const noteColumns = `(
    note_id    bigint PRIMARY KEY,
    owner_id   bigint NOT NULL,
    title      text NOT NULL,
    body       text NOT NULL,
    done       boolean NOT NULL DEFAULT false,
    amount     numeric(10, 2) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
)`

// noteRow is a row of a number n for an owner; %[1]s and %[2]s are SQL expressions for them.
const noteRow = `%[1]s, %[2]s, 'note ' || %[1]s, repeat(md5((%[1]s)::text), 3), false, (%[1]s) %% 100000 / 100.0, now()`

// The table with pgtide, and the same without.
const (
	synced = "bench.note"
	bare   = "bench.bare"
)

// owners of the rows that many users write.
const owners = 1000

// createNotes makes the table, registered, and the other one.
func createNotes(ctx context.Context, d *Database) error {
	if err := createNoteTables(ctx, d); err != nil {
		return err
	}
	return registerNotes(ctx, d)
}

func createNoteTables(ctx context.Context, d *Database) error {
	for _, statement := range []string{
		"CREATE SCHEMA bench",
		"CREATE TABLE " + synced + " " + noteColumns,
		"CREATE INDEX ON " + synced + " (owner_id)",
		"CREATE TABLE " + bare + " " + noteColumns,
		"CREATE INDEX ON " + bare + " (owner_id)",
	} {
		if _, err := d.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// registerNotes lets owners push, and adopts the rows that are there.
func registerNotes(ctx context.Context, d *Database) error {
	if _, err := d.Exec(ctx, "SELECT tide.register_table('"+synced+"', owner_column => 'owner_id', push_policy => 'owner_only')"); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	_, err := sealer.Seal(ctx, d.Pool)
	return err
}

// insertNotes is one statement that inserts rows first to last, spread over owners 1 to buckets.
func insertNotes(table string, first, last int64, buckets int) string {
	return fmt.Sprintf("INSERT INTO %s SELECT %s FROM generate_series(%d::bigint, %d::bigint) AS g", table,
		fmt.Sprintf(noteRow, "g", fmt.Sprintf("1 + g %% %d", buckets)), first, last)
}

// copyNotes is what a COPY of rows first to last sends.
func copyNotes(first, last int64) []byte {
	var text bytes.Buffer
	for n := first; n <= last; n++ {
		fmt.Fprintf(&text, "%d\t%d\tnote %d\t%096d\tf\t%d.%02d\t2026-01-02 03:04:05.678+00\n", n, 1+n%owners, n, n, n%100000/100, n%100)
	}
	return text.Bytes()
}

// writers are sessions that write single rows into one table, each in a transaction of its own, by
// prepared statements.
type writers struct {
	conns  []*pgconn.PgConn
	nextID *atomic.Int64
	// preloaded rows 1 to this are those that are updated, each by one session, so that none waits for another.
	preloaded int64
}

var body = bytes.Repeat([]byte("0123456789abcdef"), 6)

// openWriters opens sessions; nextID numbers the rows they insert.
func openWriters(ctx context.Context, d *Database, table string, sessions int, synchronousCommit string, nextID *atomic.Int64, preloaded int64) (*writers, error) {
	w := &writers{nextID: nextID, preloaded: preloaded}
	for range sessions {
		conn, err := d.Session(ctx, "synchronous_commit = "+synchronousCommit)
		if err != nil {
			return nil, err
		}
		for name, statement := range map[string]string{
			"insert": "INSERT INTO " + table + " (note_id, owner_id, title, body, amount) VALUES ($1, $2, $3, $4, 12.34)",
			"update": "UPDATE " + table + " SET title = $2, done = NOT done, updated_at = now() WHERE note_id = $1",
		} {
			if _, err := conn.Prepare(ctx, name, statement); err != nil {
				return nil, fmt.Errorf("prepare: %w", err)
			}
		}
		w.conns = append(w.conns, conn.PgConn())
	}
	return w, nil
}

// operation is one transaction of one session.
type operation func(ctx context.Context, session int) error

func (w *writers) insert(ctx context.Context, session int) error {
	id := w.nextID.Add(1)
	return w.exec(ctx, session, "insert",
		strconv.AppendInt(nil, id, 10), strconv.AppendInt(nil, 1+id%owners, 10), strconv.AppendInt([]byte("note "), id, 10), body)
}

func (w *writers) update(ctx context.Context, session int) error {
	share := w.preloaded / int64(len(w.conns))
	id := 1 + int64(session)*share + rand.Int64N(share)
	return w.exec(ctx, session, "update", strconv.AppendInt(nil, id, 10), strconv.AppendInt([]byte("note again "), rand.Int64N(1e9), 10))
}

func (w *writers) exec(ctx context.Context, session int, statement string, args ...[]byte) error {
	result := w.conns[session].ExecPrepared(ctx, statement, args, nil, nil).Read()
	if result.Err == nil && result.CommandTag.RowsAffected() != 1 {
		return fmt.Errorf("%s wrote %d rows instead of one", statement, result.CommandTag.RowsAffected())
	}
	return result.Err
}

// write has every session repeat the operation until it was done often enough in all, or the time is up.
func (w *writers) write(ctx context.Context, t *Trial, op operation, times int64, duration time.Duration) error {
	latencies := make([][]time.Duration, len(w.conns))
	errs := make([]error, len(w.conns))
	var left atomic.Int64
	left.Store(times)
	err := t.Measure(ctx, func() error {
		deadline := time.Now().Add(duration)
		var group sync.WaitGroup
		for session := range w.conns {
			group.Go(func() {
				// A context that can end costs a watching goroutine for each statement.
				within := context.WithoutCancel(ctx)
				for began := time.Now(); ctx.Err() == nil; {
					if times > 0 && left.Add(-1) < 0 || times == 0 && began.After(deadline) {
						return
					}
					if errs[session] = op(within, session); errs[session] != nil {
						return
					}
					now := time.Now()
					latencies[session] = append(latencies[session], now.Sub(began))
					began = now
				}
			})
		}
		group.Wait()
		return errors.Join(append(errs, ctx.Err())...)
	})
	for _, l := range latencies {
		t.Latencies = append(t.Latencies, l...)
		t.Rows += int64(len(l))
	}
	return err
}

// execMeasured measures one statement and counts its rows.
func execMeasured(ctx context.Context, t *Trial, conn *pgx.Conn, statement string) error {
	return t.Measure(ctx, func() error {
		tag, err := conn.Exec(ctx, statement)
		t.Rows += tag.RowsAffected()
		return err
	})
}
