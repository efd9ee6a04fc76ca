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
	return c.atPosition(func(ctx context.Context, tx *pgx.Conn, seq int64) error {
		defer c.enterStage(readStage)()
		if err := db.New(tx).OpenSnapshot(ctx, db.OpenSnapshotParams{UserID: c.user.UserID, CursorName: snapshotCursor}); err != nil {
			return err
		}
		answer := c.body(typeLines)
		defer answer.close()
		answer.raw(`{"snapshot_bundle_seq":`)
		answer.int(seq)
		answer.raw("}\n")
		rows, err := answer.snapshot(ctx, tx, strconv.AppendInt(nil, seq, 10))
		if err != nil {
			return err
		}
		answer.raw(`{"done":true,"snapshot_bundle_seq":`)
		answer.int(seq)
		answer.raw(`,"row_count":`)
		answer.int(rows)
		answer.raw(`}`)
		return answer.finish()
	})
}

// snapshot writes what the cursor has, a piece at a time: the database holds no more of it than the
// client has asked for.
func (s *body) snapshot(ctx context.Context, tx *pgx.Conn, version []byte) (total int64, err error) {
	for {
		rows, err := tx.Query(ctx, fetchSnapshot)
		if err != nil {
			return total, err
		}
		n := 0
		for rows.Next() {
			n++
			v := rows.RawValues()
			s.row(wire.Row{Schema: v[0], Table: v[1], Key: v[2], Payload: v[3]}, version)
			s.raw("\n")
			if err := s.check(); err != nil {
				rows.Close()
				return total, err
			}
		}
		if err := rows.Err(); err != nil || n == 0 {
			return total, err
		}
		total += int64(n)
	}
}
