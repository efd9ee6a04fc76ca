package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// hooksEvery is how often Run looks for what hooks are to be told.
const hooksEvery = time.Second

// tellHooks tells the application's hooks what happened, until ctx ends. What fails is kept, and comes
// again; what was begun when ctx ends too.
func (s *Server) tellHooks(ctx context.Context) {
	ticker := time.NewTicker(hooksEvery)
	defer ticker.Stop()
	failing := false
	for {
		err := s.tellWaiting(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			s.config.Logger.WarnContext(ctx, "hooks could not be told", slog.Any("error", err))
		}
		failing = err != nil
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// tellWaiting tells what is due, one event in a transaction, so that none waits for another's hook.
func (s *Server) tellWaiting(ctx context.Context) error {
	queries := db.New(s.writing())
	for {
		event, err := queries.NextHookEvent(ctx)
		if err != nil || event == 0 {
			return err
		}
		if told, err := queries.DeliverHookEvent(ctx, event); err != nil || !told {
			s.metrics.hooks.Inc()
			s.config.Logger.WarnContext(ctx, "a hook failed, and will be told again: tide.hook_events says why", slog.Int64("event_id", event), slog.Any("error", err))
		}
	}
}

// noteStale keeps for on_stale that the device must take a snapshot. The refusal itself was a transaction
// that left nothing.
func (c *call) noteStale(refused *wire.Error) {
	switch refused.Code {
	case wire.HistoryPruned, wire.HistoryChanged, wire.BucketListNeeded:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.client), healthTimeout)
	defer cancel()
	err := db.New(c.writing()).NoteStale(ctx, db.NoteStaleParams{UserID: c.user.UserID, SourceID: c.source, Reason: string(refused.Code)})
	if err != nil && !wire.ReadOnly(err) { // a standby keeps nothing
		c.config.Logger.WarnContext(ctx, "a stale device was not noted", slog.String("request_id", c.requestID), slog.Any("error", err))
	}
}
