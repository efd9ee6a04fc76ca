package server

import (
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// createPushSession begins a push that arrives in chunks, or answers for one that was committed.
func (c *call) createPushSession() error {
	var asked struct {
		SourceBundleID   int64  `json:"source_bundle_id"`
		PlannedRowCount  int64  `json:"planned_row_count"`
		InitializationID string `json:"initialization_id"`
		BundleUUID       string `json:"bundle_uuid"`
	}
	if err := c.decode(&asked, wire.InvalidRequest, false); err != nil {
		return err
	}
	name, err := bundleUUID(asked.BundleUUID)
	if err != nil {
		return err
	}
	session, err := db.New(c.writing()).CreatePushSession(c.r.Context(), db.CreatePushSessionParams{
		UserID: c.user.UserID, SourceID: c.source, SourceBundleID: asked.SourceBundleID, PlannedRowCount: asked.PlannedRowCount,
		InitializationID: initialization(asked.InitializationID), BundleUuid: name,
	})
	if err != nil {
		return err
	}
	if session.Status != "staging" {
		c.counts.replays.Add(1)
		committed := &pushed{sourceID: c.source, sourceBundleID: asked.SourceBundleID}
		if err := c.readPushed(committed); err != nil {
			return err
		}
		return c.json(func(b []byte) []byte {
			return append(committed.appendTo(append(b, `{"status":"already_committed",`...)), '}')
		})
	}
	return c.json(func(b []byte) []byte {
		b = wire.AppendString(append(b, `{"push_id":`...), session.PushID.String())
		b = strconv.AppendInt(append(b, `,"status":"staging","planned_row_count":`...), asked.PlannedRowCount, 10)
		return append(b, '}')
	})
}

// addPushChunk hands rows on as they came.
func (c *call) addPushChunk() error {
	id, err := c.pushID()
	if err != nil {
		return err
	}
	asked := struct {
		StartRowOrdinal int64    `json:"start_row_ordinal"`
		Rows            wireRows `json:"rows"`
	}{Rows: "null"}
	if err := c.decode(&asked, wire.InvalidRequest, false); err != nil {
		return err
	}
	// The answer is a promise: a crash or failover that took the rows would leave a session that cannot be committed.
	next, err := db.New(c.lasting()).AddPushChunk(c.r.Context(), db.AddPushChunkParams{
		UserID: c.user.UserID, SourceID: c.source, PushID: id, StartRowOrdinal: asked.StartRowOrdinal, WireRows: string(asked.Rows),
	})
	if err != nil {
		return err
	}
	return c.json(func(b []byte) []byte {
		b = wire.AppendString(append(b, `{"push_id":`...), id.String())
		b = strconv.AppendInt(append(b, `,"next_expected_row_ordinal":`...), next, 10)
		return append(b, '}')
	})
}

// commitPushSession applies the rows of a session, and answers once they are sealed.
func (c *call) commitPushSession() error {
	id, err := c.pushID()
	if err != nil {
		return err
	}
	got, err := c.apply(func() (db.PushRow, bool, error) {
		defer c.enterStage(applyStage)()
		got, err := db.New(c.writing()).CommitPushSession(c.r.Context(), db.CommitPushSessionParams{
			UserID: c.user.UserID, SourceID: c.source, PushID: id, Claims: c.claims(),
		})
		return db.PushRow(got), false, err
	})
	if err != nil {
		return err
	}
	committed := &pushed{sourceID: c.source, sourceBundleID: got.SourceBundleID}
	if err := c.readPushed(committed); err != nil {
		return err
	}
	if got.Status == "applied" {
		c.rowsPushed = committed.rowCount
	}
	return c.json(func(b []byte) []byte { return append(committed.appendTo(append(b, '{')), '}') })
}

func (c *call) deletePushSession() error {
	id, err := c.pushID()
	if err != nil {
		return err
	}
	if err := db.New(c.writing()).DeletePushSession(c.r.Context(), db.DeletePushSessionParams{UserID: c.user.UserID, SourceID: c.source, PushID: id}); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) pushID() (pgtype.UUID, error) {
	id, ok := uuid(c.parameter)
	if !ok {
		return id, wire.Refuse(wire.PushSessionNotFound, "there is no such push session. Create another one.")
	}
	return id, nil
}
