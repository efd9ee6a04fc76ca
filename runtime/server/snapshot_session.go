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
	var asked snapshotRequest
	if err := c.decode(&asked, wire.SnapshotSessionInvalid, true); err != nil {
		return err
	}
	if asked.Buckets != nil && asked.Cursor == nil {
		return wire.Refuse(wire.SnapshotSessionInvalid, "buckets are named without a cursor. Send the cursor that connect gave.")
	}
	source, err := c.replaceSource(asked)
	if err != nil {
		return err
	}
	if err := db.New(c.reading()).AssertScope(c.r.Context(), c.user.UserID); err != nil {
		return err
	}
	if asked.Cursor != nil {
		return c.createBucketsSession(source, asked)
	}
	var session db.CreateSnapshotSessionRow
	var seq int64
	err = c.atPosition(func(ctx context.Context, tx *pgx.Conn, at position) (err error) {
		defer c.enterStage(buildStage)()
		seq = at.homeSeq
		session, err = db.New(tx).CreateSnapshotSession(ctx, db.CreateSnapshotSessionParams{UserID: c.user.UserID, SourceID: source, SnapshotBundleSeq: seq})
		return err
	})
	if err != nil {
		return err
	}
	return c.json(func(b []byte) []byte {
		b = wire.AppendString(append(b, `{"snapshot_id":`...), session.SnapshotID.String())
		b = strconv.AppendInt(append(b, `,"snapshot_bundle_seq":`...), seq, 10)
		return append(appendSize(b, session.RowCount, session.ByteCount, session.ExpiresAt), '}')
	})
}

func appendSize(b []byte, rows, bytes int64, expiresAt pgtype.Timestamptz) []byte {
	b = strconv.AppendInt(append(b, `,"row_count":`...), rows, 10)
	if bytes > 0 {
		b = strconv.AppendInt(append(b, `,"byte_count":`...), bytes, 10)
	}
	return append(append(b, `,"expires_at":`...), timestamp(expiresAt)...)
}

// createBucketsSession is the same for the buckets that are named, or all that the device lacks.
func (c *call) createBucketsSession(source string, asked snapshotRequest) error {
	var session db.CreateBucketsSessionRow
	var sealed position
	err := c.atPosition(func(ctx context.Context, tx *pgx.Conn, at position) (err error) {
		defer c.enterStage(buildStage)()
		sealed = at
		session, err = db.New(tx).CreateBucketsSession(ctx, db.CreateBucketsSessionParams{
			UserID: c.user.UserID, SourceID: source, ReadCursor: *asked.Cursor, Buckets: asked.Buckets, BundleID: at.BundleID, SealID: at.SealID, Identity: at.Identity,
		})
		return err
	})
	if err != nil {
		return err
	}
	return c.json(func(b []byte) []byte {
		b = wire.AppendString(append(b, `{"snapshot_id":`...), session.SnapshotID.String())
		b = strconv.AppendInt(append(b, `,"snapshot_bundle_id":`...), sealed.BundleID, 10)
		b = wire.AppendString(append(b, `,"seal":`...), sealed.seal())
		b = append(append(b, `,"buckets":`...), session.Wanted...)
		b = appendSize(b, session.RowCount, session.ByteCount, session.ExpiresAt)
		b = wire.AppendString(append(b, `,"cursor":`...), session.NextCursor)
		return append(b, '}')
	})
}

// snapshotRequest is the body that asks for a snapshot; it may be left out.
type snapshotRequest struct {
	SourceReplacement *struct {
		PreviousSourceID string `json:"previous_source_id"`
		NewSourceID      string `json:"new_source_id"`
		Reason           string `json:"reason"`
	} `json:"source_replacement"`
	Cursor  *string  `json:"cursor"`
	Buckets []string `json:"buckets"`
}

// replaceSource does what the body asks for, if anything, and returns the source that goes on. It is a
// transaction of its own: asked for again, it is done already.
func (c *call) replaceSource(asked snapshotRequest) (string, error) {
	replacement := asked.SourceReplacement
	if replacement == nil {
		return c.source, nil
	}
	if replacement.PreviousSourceID != c.source {
		return "", wire.Refuse(wire.SnapshotSessionInvalid, "previous_source_id is not the source of the request. Send the replacement as the source that ends.")
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
	var rows int64
	leave := c.enterStage(readStage)
	err = c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
		batch.Queue(db.SnapshotSession, c.user.UserID, id).QueryRow(func(row pgx.Row) error {
			if err := row.Scan(&session.SnapshotBundleSeq, &session.RowCount, &session.OfBuckets); err != nil {
				return err
			}
			answer.string(`{"snapshot_id":`, id.String())
			if session.OfBuckets {
				answer.raw(`,"snapshot_bundle_id":`)
			} else {
				answer.raw(`,"snapshot_bundle_seq":`)
			}
			answer.int(session.SnapshotBundleSeq)
			answer.raw(`,"rows":[`)
			return nil
		})
		each(batch.Queue(db.SnapshotChunk, c.user.UserID, id, min(after, beyondRows<<30), int32(min(maxRows, largestPage))), func(v [][]byte) error {
			n, err := strconv.ParseInt(string(v[0]), 10, 64)
			if err != nil {
				return err
			}
			if rows > 0 {
				answer.raw(",")
			}
			rows += n
			answer.rows(n, v[1])
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
