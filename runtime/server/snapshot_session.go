package server

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// createSnapshotSession makes a snapshot of the home bucket that is fetched in chunks. A device that
// has to begin anew replaces its source with it.
func (c *call) createSnapshotSession() error {
	source, err := c.replaceSource()
	if err != nil {
		return err
	}
	if err := db.New(c.reading()).AssertScope(c.r.Context(), c.user.UserID); err != nil {
		return err
	}
	var session db.CreateSnapshotSessionRow
	var position int64
	err = c.atPosition(func(ctx context.Context, tx *pgx.Conn, seq int64) (err error) {
		defer c.enterStage(buildStage)()
		position = seq
		session, err = db.New(tx).CreateSnapshotSession(ctx, db.CreateSnapshotSessionParams{UserID: c.user.UserID, SourceID: source, SnapshotBundleSeq: seq})
		return err
	})
	if err != nil {
		return err
	}
	return c.json(func(b []byte) []byte {
		b = wire.AppendString(append(b, `{"snapshot_id":`...), session.SnapshotID.String())
		b = strconv.AppendInt(append(b, `,"snapshot_bundle_seq":`...), position, 10)
		b = strconv.AppendInt(append(b, `,"row_count":`...), session.RowCount, 10)
		if session.ByteCount > 0 {
			b = strconv.AppendInt(append(b, `,"byte_count":`...), session.ByteCount, 10)
		}
		b = append(append(b, `,"expires_at":`...), timestamp(session.ExpiresAt)...)
		return append(b, '}')
	})
}

// replaceSource does what the body asks for, if anything, and returns the source that goes on. It is a
// transaction of its own: asked for again, it is done already.
func (c *call) replaceSource() (string, error) {
	const code = wire.SnapshotSessionInvalid
	var asked struct {
		SourceReplacement *struct {
			PreviousSourceID string `json:"previous_source_id"`
			NewSourceID      string `json:"new_source_id"`
			Reason           string `json:"reason"`
		} `json:"source_replacement"`
	}
	if err := c.decode(&asked, code, true); err != nil {
		return "", err
	}
	replacement := asked.SourceReplacement
	if replacement == nil {
		return c.source, nil
	}
	if replacement.PreviousSourceID != c.source {
		return "", wire.Refuse(code, "previous_source_id is not the source of the request. Send the replacement as the source that ends.")
	}
	return replacement.NewSourceID, db.New(c.lasting()).ReplaceSource(c.r.Context(), db.ReplaceSourceParams{
		UserID: c.user.UserID, PreviousSourceID: replacement.PreviousSourceID, NewSourceID: replacement.NewSourceID, Reason: replacement.Reason,
	})
}

// snapshotChunk writes rows of a snapshot session. Ordinals here are counts: 0 is the start.
func (c *call) snapshotChunk() error {
	const code = wire.SnapshotChunkInvalid
	id, err := c.snapshotID()
	if err != nil {
		return err
	}
	after, err := c.number("after_row_ordinal", 0, 0, code)
	if err != nil {
		return err
	}
	maxRows, err := c.number("max_rows", standardPage, 1, code)
	if err != nil {
		return err
	}
	answer := c.body(typeJSON)
	defer answer.close()
	var session db.SnapshotSessionRow
	var version []byte
	var rows int64
	leave := c.enterStage(readStage)
	err = c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
		batch.Queue(db.SnapshotSession, c.user.UserID, id).QueryRow(func(row pgx.Row) error {
			if err := row.Scan(&session.SnapshotBundleSeq, &session.RowCount); err != nil {
				return err
			}
			version = strconv.AppendInt(nil, session.SnapshotBundleSeq, 10)
			answer.string(`{"snapshot_id":`, id.String())
			answer.raw(`,"snapshot_bundle_seq":`)
			answer.int(session.SnapshotBundleSeq)
			answer.raw(`,"rows":[`)
			return nil
		})
		each(batch.Queue(db.SnapshotRows, c.user.UserID, id, min(after, beyondRows<<30), int32(min(maxRows, largestPage))), func(v [][]byte) error {
			if rows > 0 {
				answer.raw(",")
			}
			rows++
			answer.row(wire.Row{Schema: v[0], Table: v[1], Key: v[2], Payload: v[3]}, version)
			return answer.check()
		})
	})
	leave()
	if err != nil {
		return err
	}
	answer.raw(`],"next_row_ordinal":`)
	answer.int(after + rows)
	answer.raw(`,"has_more":`)
	answer.b = strconv.AppendBool(answer.b, after+rows < session.RowCount)
	answer.raw(`}`)
	return answer.finish()
}

func (c *call) deleteSnapshotSession() error {
	id, err := c.snapshotID()
	if err != nil {
		return err
	}
	if err := db.New(c.writing()).DeleteSnapshotSession(c.r.Context(), db.DeleteSnapshotSessionParams{UserID: c.user.UserID, SnapshotID: id}); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) snapshotID() (pgtype.UUID, error) {
	id, ok := uuid(c.parameter)
	if !ok {
		return id, wire.Refuse(wire.SnapshotNotFound, "there is no such snapshot. Create another one.")
	}
	return id, nil
}
