package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/db"
)

// What begins the two transactions of a snapshot. LOCK TABLE takes no snapshot, so the one that is
// imported afterwards can still become that of the transaction.
const (
	beginSnapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ"
	beginSealing  = beginSnapshot + "; SET LOCAL lock_timeout = %s; SET LOCAL idle_in_transaction_session_timeout = %s; SET LOCAL statement_timeout = %s; " +
		"LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE"
	importSnapshot = "SET TRANSACTION SNAPSHOT '%s'"
)

// position is where a seal left the log.
type position struct {
	homeSeq int64 // of the home bucket
	db.HeadSealRow
}

// seal names the seal to devices.
func (p position) seal() string { return strconv.FormatInt(p.SealID, 10) + "-" + p.Identity.String() }

// atPosition runs use in a transaction that sees exactly the state at the position it is told: one
// connection exports its snapshot, another one seals at that very snapshot, and the first reads. The
// lock of sealing is taken first, so nobody seals between. It commits when use returns nil.
func (c *call) atPosition(use func(ctx context.Context, tx *pgx.Conn, at position) error) error {
	ctx := c.r.Context()
	release, err := c.exportNext(ctx)
	if err != nil {
		return err
	}
	reader, at, err := c.position()
	release()
	if err != nil {
		return err
	}
	defer reader.Release()
	defer undo(reader.Conn())
	if err := use(ctx, reader.Conn(), at); err != nil {
		return err
	}
	_, err = reader.Exec(ctx, commit)
	return err
}

// exportNext waits until no other request holds two connections: several that each waited for their second
// one would wait for ever.
func (c *call) exportNext(ctx context.Context) (release func(), err error) {
	defer c.enterStage(waitStage)()
	select {
	case c.exporting <- struct{}{}:
		return func() { <-c.exporting }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for other snapshots: %w", ctx.Err())
	}
}

// errLongSeal says that a seal in several steps has only begun: each is a transaction of its own.
var errLongSeal = errors.New("more is to be sealed than one step takes")

func (c *call) position() (reader *pgxpool.Conn, at position, err error) {
	defer c.enterStage(sealStage)()
	ctx := c.r.Context()
	for {
		if reader, at, err = c.exportedAt(ctx); !errors.Is(err, errLongSeal) {
			return reader, at, err
		}
		if _, err = c.seals.Seal(ctx); err != nil {
			return nil, at, err
		}
	}
}

// exportedAt is a reader at a position, or errLongSeal.
func (c *call) exportedAt(ctx context.Context) (reader *pgxpool.Conn, at position, err error) {
	sealing, err := c.acquire(ctx)
	if err != nil {
		return nil, at, err
	}
	defer sealing.Release()
	defer undo(sealing.Conn())
	limit := milliseconds(c.config.RequestTimeout)
	begin := fmt.Sprintf(beginSealing, milliseconds(c.config.LockTimeout), limit, limit)
	if err := execute(ctx, sealing.Conn().PgConn(), begin); err != nil {
		return nil, at, fmt.Errorf("take the lock of sealing: %w", err)
	}
	if reader, err = c.acquire(ctx); err != nil {
		return nil, at, err
	}
	at, err = c.sealAt(ctx, sealing.Conn(), reader.Conn())
	if err != nil {
		undo(reader.Conn())
		reader.Release()
		return nil, at, err
	}
	return reader, at, nil
}

// sealAt seals at the snapshot of the reader, and returns the position there, or errLongSeal after a step.
func (c *call) sealAt(ctx context.Context, sealing, reader *pgx.Conn) (at position, err error) {
	var snapshot string
	var batch pgx.Batch
	done(batch.Queue(beginSnapshot))
	done(queueBounds(ctx, &batch, c.bounds(c.config.StreamTimeout, "off")))
	batch.Queue(db.ExportSnapshot).QueryRow(func(row pgx.Row) error { return row.Scan(&snapshot) })
	if err := reader.SendBatch(ctx, &batch).Close(); err != nil {
		return at, fmt.Errorf("export a snapshot: %w", err)
	}
	if err := execute(ctx, sealing.PgConn(), fmt.Sprintf(importSnapshot, snapshot)); err != nil {
		return at, fmt.Errorf("import the snapshot: %w", err)
	}
	var inProgress bool
	var seal, last pgx.Batch
	done(seal.Queue(db.Seal))
	seal.Queue(db.SealInProgress).QueryRow(func(row pgx.Row) error { return row.Scan(&inProgress) })
	if err := sealing.SendBatch(ctx, &seal).Close(); err != nil {
		return at, fmt.Errorf("seal: %w", err)
	}
	if inProgress {
		if err := execute(ctx, sealing.PgConn(), commit); err != nil {
			return at, fmt.Errorf("commit a step of a seal: %w", err)
		}
		return at, errLongSeal
	}
	last.Queue(db.HomePosition, c.user.UserID).QueryRow(func(row pgx.Row) error {
		var floor int64
		return row.Scan(&floor, &at.homeSeq)
	})
	last.Queue(db.HeadSeal).QueryRow(func(row pgx.Row) error { return row.Scan(&at.BundleID, &at.SealID, &at.Identity) })
	done(last.Queue(commit))
	if err := sealing.SendBatch(ctx, &last).Close(); err != nil {
		return at, fmt.Errorf("find the position: %w", err)
	}
	return at, nil
}

// execute runs statements that take no parameters, several in one round trip.
func execute(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	return conn.Exec(ctx, sql).Close()
}
