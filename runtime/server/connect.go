package server

import (
	"encoding/json"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// connect tells a device how to begin.
func (c *call) connect() error {
	var asked *struct {
		HasLocalPendingRows bool            `json:"has_local_pending_rows"`
		Buckets             bool            `json:"buckets"`
		Cursor              string          `json:"cursor"`
		Positions           json.RawMessage `json:"positions"`
		Pushed              string          `json:"pushed"`
	}
	if err := c.decode(&asked, wire.InvalidRequest, false); err != nil {
		return err
	}
	if asked == nil {
		return wire.Refuse(wire.ConnectInvalid, `the body is null. Send {"has_local_pending_rows": true} or false.`)
	}
	got, err := db.New(c.lasting()).Connect(c.r.Context(), db.ConnectParams{
		UserID: c.user.UserID, SourceID: c.source, HasLocalPendingRows: asked.HasLocalPendingRows, ManyBuckets: asked.Buckets,
	})
	if err != nil {
		return err
	}
	var held db.ConnectBucketsRow
	if asked.Buckets && got.Resolution != "retry_later" {
		held, err = db.New(c.lasting()).ConnectBuckets(c.r.Context(), db.ConnectBucketsParams{
			UserID: c.user.UserID, SourceID: c.source, ReadCursor: asked.Cursor, Positions: optional(asked.Positions),
			Pushed: pgtype.Text{String: asked.Pushed, Valid: asked.Pushed != ""},
		})
		if err != nil {
			return err
		}
	}
	return c.json(func(b []byte) []byte {
		b = wire.AppendString(append(b, `{"resolution":`...), got.Resolution)
		if got.InitializationID.Valid {
			b = wire.AppendString(append(b, `,"initialization_id":`...), got.InitializationID.String())
		}
		if got.LeaseExpiresAt.Valid {
			b = append(append(b, `,"lease_expires_at":`...), timestamp(got.LeaseExpiresAt)...)
		}
		if got.RetryAfterSeconds > 0 {
			b = strconv.AppendInt(append(b, `,"retry_after_seconds":`...), int64(got.RetryAfterSeconds), 10)
		}
		if held.NextCursor != "" {
			b = appendUpdates(append(b, `,"buckets":`...), held.Add, held.Remove, held.Repair)
			b = wire.AppendString(append(b, `,"cursor":`...), held.NextCursor)
			if held.BundleID >= 0 {
				b = strconv.AppendInt(append(b, `,"bundle_id":`...), held.BundleID, 10)
			}
		}
		return append(b, '}')
	})
}

// appendUpdates says which buckets a device must fetch or drop; each is a JSON array.
func appendUpdates(b, add, remove, repair []byte) []byte {
	b = append(append(b, `{"add":`...), add...)
	b = append(append(b, `,"remove":`...), remove...)
	b = append(append(b, `,"repair":`...), repair...)
	return append(b, '}')
}

// optional is JSON that the request may leave out.
func optional(text json.RawMessage) pgtype.Text {
	given := len(text) > 0 && string(text) != "null"
	return pgtype.Text{String: string(text), Valid: given}
}

// timestamp is a JSON string in UTC with as many digits of the second as there are.
func timestamp(t pgtype.Timestamptz) []byte {
	return t.Time.UTC().AppendFormat(nil, `"2006-01-02T15:04:05.999999999Z"`)
}
