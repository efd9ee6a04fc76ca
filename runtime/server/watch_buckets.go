package server

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/watch"
	"github.com/pgtide/pgtide/runtime/wire"
)

// watchBuckets tells of all buckets that the device holds, in the order of the log.
func (c *call) watchBuckets() error {
	heard, err := c.lastEvent()
	if err != nil {
		return err
	}
	known, err := c.watchCursor()
	if err != nil {
		return err
	}
	return c.subscribe(known.Buckets, func() (eventStream, error) {
		now, err := c.watchCursor()
		after := max(now.BundleID, min(heard, now.NewestBundleID))
		stream := eventStream{call: c, told: max(after, now.NewestBundleID), held: known.Buckets}
		if now.NewestBundleID > after || now.Changed {
			stream.first = watch.Frame("bundle_id", stream.told)
		}
		return stream, err
	})
}

// watchCursor is what the cursor of the request says now.
func (c *call) watchCursor() (now db.WatchCursorRow, err error) {
	err = c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
		done(batch.Queue(db.AssertScope, c.user.UserID))
		batch.Queue(db.WatchCursor, c.user.UserID, c.source, c.r.URL.Query().Get("cursor")).QueryRow(func(row pgx.Row) error {
			return row.Scan(&now.BundleID, &now.Buckets, &now.NewestBundleID, &now.Changed)
		})
	})
	return now, err
}

// mayHear asks whether the buckets of the stream are still the user's, before it tells of one that was not
// always his. A stream ends with the right to it.
func (s *eventStream) mayHear(events []*watch.Event) (bool, error) {
	home := s.homeBucket()
	if !slices.ContainsFunc(events, func(event *watch.Event) bool { return event.Bucket != home }) {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(s.client, s.config.RequestTimeout)
	defer cancel()
	err := db.New(s.reading()).AssertBuckets(ctx, db.AssertBucketsParams{UserID: s.user.UserID, Buckets: s.held})
	if err != nil && wire.FromError(err, wire.WatchFailed).Code == wire.BucketForbidden {
		return false, nil
	}
	return err == nil, err
}
