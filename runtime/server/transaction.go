package server

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/db"
)

// transaction runs statements as one transaction in one round trip: BEGIN, its bounds, the statements
// and COMMIT are sent at once. It is a db.DBTX of which each method is a transaction of its own.
type transaction struct {
	server *Server
	begin  string
	bounds db.BoundTransactionParams
}

const (
	begin = "BEGIN"
	// Not READ WRITE: where somebody has made read-only the default, he means these too.
	beginWrite = "BEGIN ISOLATION LEVEL READ COMMITTED"
	beginRead  = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	commit     = "COMMIT"
	rollback   = "ROLLBACK"
)

// writing is a transaction that changes what can be asked for again: a crash may lose it, unless a
// synchronous commit follows.
func (s *Server) writing() transaction { return s.transaction(beginWrite, "off") }

// lasting is a transaction whose answer is a promise.
func (s *Server) lasting() transaction { return s.transaction(beginWrite, "on") }

func (s *Server) reading() transaction { return s.transaction(beginRead, "off") }

func (s *Server) transaction(begin, synchronousCommit string) transaction {
	return transaction{s, begin, s.bounds(s.config.RequestTimeout, synchronousCommit)}
}

// bounds end a statement in the database when nobody waits for it any more.
func (s *Server) bounds(limit time.Duration, synchronousCommit string) db.BoundTransactionParams {
	return db.BoundTransactionParams{
		StatementTimeoutMs: milliseconds(limit),
		LockTimeoutMs:      milliseconds(s.config.LockTimeout),
		IdleTimeoutMs:      milliseconds(limit),
		SynchronousCommit:  synchronousCommit,
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }

// run runs what queue puts into the batch.
func (t transaction) run(ctx context.Context, queue func(*pgx.Batch)) error {
	var batch pgx.Batch
	t.queue(ctx, &batch, queue)
	return t.server.sendBatch(ctx, &batch)
}

// queue puts the transaction into a batch, which may have several.
func (t transaction) queue(ctx context.Context, batch *pgx.Batch, queue func(*pgx.Batch)) {
	done(batch.Queue(t.begin))
	done(queueBounds(ctx, batch, t.bounds))
	queue(batch)
	done(batch.Queue(commit))
}

// sendBatch runs the transactions of a batch in one round trip.
func (s *Server) sendBatch(ctx context.Context, batch *pgx.Batch) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		undo(conn.Conn())
		return err
	}
	return nil
}

// stream is run, and then reads the cursor that queue opened while the database still fills it.
func (t transaction) stream(ctx context.Context, cursor string, queue func(*pgx.Batch), row func(values [][]byte) error) error {
	conn, err := t.server.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	defer undo(conn.Conn())
	var batch pgx.Batch
	done(batch.Queue(t.begin))
	done(queueBounds(ctx, &batch, t.bounds))
	queue(&batch)
	if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	_, err = fetch(ctx, conn.Conn(), "FETCH ALL FROM "+cursor+"; "+commit, row)
	return err
}

// fetch runs statements that read cursors, in one round trip, and says how many rows there were. None of them is
// prepared: a prepared FETCH keeps the columns of the cursor that it met first.
func fetch(ctx context.Context, conn *pgx.Conn, sql string, row func(values [][]byte) error) (n int, err error) {
	results := conn.PgConn().Exec(ctx, sql)
	for err == nil && results.NextResult() {
		rows := results.ResultReader()
		for err == nil && rows.NextRow() {
			n++
			err = row(rows.Values())
		}
	}
	if closed := results.Close(); err == nil {
		err = closed
	}
	return n, err
}

func queueBounds(ctx context.Context, batch *pgx.Batch, b db.BoundTransactionParams) *pgx.QueuedQuery {
	return batch.Queue(db.BoundTransaction, b.StatementTimeoutMs, b.LockTimeoutMs, b.IdleTimeoutMs, b.SynchronousCommit, traceparent(ctx))
}

// done reads a result that has nothing to say: without a callback, those after it would be skipped.
func done(query *pgx.QueuedQuery) {
	query.Exec(func(pgconn.CommandTag) error { return nil })
}

// undo ends a transaction that failed. When it cannot, the pool closes the connection.
func undo(conn *pgx.Conn) {
	if conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, rollback) // the status of the connection tells the pool
}

// Exec runs one statement.
func (t transaction) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	err = t.run(ctx, func(batch *pgx.Batch) {
		batch.Queue(sql, args...).Exec(func(got pgconn.CommandTag) error {
			tag = got
			return nil
		})
	})
	return tag, err
}

// QueryRow runs one statement when its row is scanned.
func (t transaction) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return scan(func(into ...any) error {
		return t.run(ctx, func(batch *pgx.Batch) {
			batch.Queue(sql, args...).QueryRow(func(row pgx.Row) error { return row.Scan(into...) })
		})
	})
}

type scan func(into ...any) error

// Scan implements pgx.Row.
func (s scan) Scan(into ...any) error { return s(into...) }

// Query implements db.DBTX. Rows would outlive the transaction, so they are read by run and each.
func (t transaction) Query(context.Context, string, ...any) (pgx.Rows, error) {
	return nil, errors.New("rows are read within run")
}

// each hands the raw values of every row to f, which must not keep them.
func each(query *pgx.QueuedQuery, f func(values [][]byte) error) {
	query.Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := f(rows.RawValues()); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}
