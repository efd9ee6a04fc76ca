package server

import (
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// connect tells a device how to begin.
func (c *call) connect() error {
	var asked *struct {
		HasLocalPendingRows bool `json:"has_local_pending_rows"`
	}
	if err := c.decode(&asked, wire.InvalidRequest, false); err != nil {
		return err
	}
	if asked == nil {
		return wire.Refuse(wire.ConnectInvalid, `the body is null. Send {"has_local_pending_rows": true} or false.`)
	}
	got, err := db.New(c.lasting()).Connect(c.r.Context(), db.ConnectParams{
		UserID: c.user.UserID, SourceID: c.source, HasLocalPendingRows: asked.HasLocalPendingRows,
	})
	if err != nil {
		return err
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
		return append(b, '}')
	})
}

// timestamp is a JSON string in UTC with as many digits of the second as there are.
func timestamp(t pgtype.Timestamptz) []byte {
	return t.Time.UTC().AppendFormat(nil, `"2006-01-02T15:04:05.999999999Z"`)
}
