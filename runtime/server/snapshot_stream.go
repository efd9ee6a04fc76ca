package server

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

const (
	snapshotCursor = "tide_snapshot"
	fetchSnapshot  = "FETCH FORWARD 1000 FROM tide_snapshot"
)

// streamSnapshot writes the home bucket as NDJSON straight from the tables: a line with the position,
// one for each row, and a last one that says it is whole. It holds one transaction, for as long as
// StreamTimeout, and counts among the streams.
func (c *call) streamSnapshot() error {
	if err := db.New(c.reading()).AssertScope(c.r.Context(), c.user.UserID); err != nil {
		return err
	}
	if c.r.URL.Query().Has("cursor") {
		return c.streamBuckets()
	}
	return c.atPosition(func(ctx context.Context, tx *pgx.Conn, at position) error {
		defer c.enterStage(readStage)()
		if err := db.New(tx).OpenSnapshot(ctx, db.OpenSnapshotParams{UserID: c.user.UserID, CursorName: snapshotCursor}); err != nil {
			return err
		}
		answer := c.body(typeLines)
		defer answer.close()
		answer.raw(`{"snapshot_bundle_seq":`)
		answer.int(at.homeSeq)
		answer.raw("}\n")
		rows, err := answer.snapshot(ctx, tx, strconv.AppendInt(nil, at.homeSeq, 10), nil)
		if err != nil {
			return err
		}
		answer.raw(`{"done":true,"snapshot_bundle_seq":`)
		answer.int(at.homeSeq)
		answer.raw(`,"row_count":`)
		answer.int(rows)
		answer.raw(`}`)
		return answer.finish()
	})
}

// streamBuckets is the same for the buckets that are named, or all that the device lacks.
func (c *call) streamBuckets() error {
	asked := c.r.URL.Query()
	return c.atPosition(func(ctx context.Context, tx *pgx.Conn, at position) error {
		defer c.enterStage(readStage)()
		opened, err := db.New(tx).OpenBucketsSnapshot(ctx, db.OpenBucketsSnapshotParams{
			UserID: c.user.UserID, SourceID: c.source, ReadCursor: asked.Get("cursor"), Buckets: asked["bucket"],
			BundleID: at.BundleID, SealID: at.SealID, Identity: at.Identity, CursorName: snapshotCursor,
		})
		if err != nil {
			return err
		}
		answer := c.body(typeLines)
		defer answer.close()
		answer.raw(`{"snapshot_bundle_id":`)
		answer.int(at.BundleID)
		answer.string(`,"seal":`, at.seal())
		answer.raw(`,"buckets":`)
		answer.strings(opened.Wanted)
		answer.raw("}\n")
		rows, err := answer.snapshot(ctx, tx, strconv.AppendInt(nil, at.BundleID, 10), opened.Wanted)
		if err != nil {
			return err
		}
		answer.raw(`{"done":true,"row_count":`)
		answer.int(rows)
		answer.string(`,"cursor":`, opened.NextCursor)
		answer.raw(`}`)
		return answer.finish()
	})
}

// snapshot writes what the cursor has, a piece at a time: the database holds no more of it than the
// client has asked for. Before each piece it is asked whether the wanted buckets are still the user's.
func (s *body) snapshot(ctx context.Context, tx *pgx.Conn, version []byte, wanted []string) (total int64, err error) {
	s.early = true
	for {
		if wanted != nil {
			// What this transaction sees may have been taken from the user since.
			if err := db.New(s.c.reading()).AssertBuckets(ctx, db.AssertBucketsParams{UserID: s.c.user.UserID, Buckets: wanted}); err != nil {
				return total, err
			}
		}
		n, err := fetch(ctx, tx, fetchSnapshot, func(v [][]byte) error {
			row := wire.Row{Schema: v[0], Table: v[1], Key: v[2], Payload: v[3]}
			if wanted != nil {
				row.Buckets = v[4]
			}
			s.row(row, version)
			s.raw("\n")
			return s.check()
		})
		if err != nil || n == 0 {
			return total, err
		}
		total += int64(n)
	}
}
