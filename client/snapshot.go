package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// fetch brings the buckets that are missing, if there are any.
func (c *Client) fetch(ctx context.Context, s state) (bool, error) {
	var missing []string
	err := c.transact(ctx, func(w *writer) (err error) {
		missing, err = all(w, func(scan func(...any) error) (name string, err error) { return name, scan(&name) }, `SELECT name FROM _tide_bucket WHERE missing = 1 ORDER BY name`)
		return err
	})
	if err != nil || len(missing) == 0 {
		return false, err
	}
	var taken snapshot
	if err := c.remote.do(ctx, s.source, http.MethodPost, "/sync/snapshot-sessions", map[string]any{"cursor": s.cursor, "buckets": missing}, &taken); err != nil {
		return true, err
	}
	path := "/sync/snapshot-sessions/" + taken.ID
	var rows []wireRow
	for more := true; more; {
		var chunk snapshotChunk
		if err := c.remote.do(ctx, s.source, http.MethodGet, fmt.Sprintf("%s?after_row_ordinal=%d&max_rows=5000", path, len(rows)), nil, &chunk); err != nil {
			return true, err
		}
		rows, more = append(rows, chunk.Rows...), chunk.HasMore
		c.config.Progress(Progress{"fetch", int64(len(rows)), taken.Count})
	}
	if int64(len(rows)) != taken.Count || taken.BundleID <= 0 {
		return true, fmt.Errorf("client: a snapshot of %d rows came with %d", taken.Count, len(rows))
	}
	err = c.advance(ctx, s, func(w *writer) error { return w.applying(func() error { return w.applySnapshot(taken, rows) }) })
	var refused *ServerError
	if e := c.remote.do(ctx, s.source, http.MethodDelete, path, nil, nil); e != nil && !errors.As(e, &refused) {
		c.config.Logger.DebugContext(ctx, "the snapshot is left to expire", "error", e)
	}
	return true, err
}

// applySnapshot makes the buckets be as the snapshot has them.
func (w *writer) applySnapshot(taken snapshot, rows []wireRow) error {
	for _, bucket := range taken.Buckets {
		if err := w.exec(`INSERT INTO _tide_bucket (name, bundle_id, seal, missing) VALUES (?, ?, ?, 0)
			ON CONFLICT (name) DO UPDATE SET bundle_id = excluded.bundle_id, seal = excluded.seal, missing = 0`, bucket, taken.BundleID, taken.Seal); err != nil {
			return err
		}
	}
	still := make(map[keyName]bool, len(rows))
	for _, row := range rows {
		in, err := w.read(row)
		if err != nil {
			return err
		}
		if in == nil {
			continue
		}
		in.fetched = true
		still[keyName{in.table.id, in.key}] = true
		if err := w.apply(*in); err != nil {
			return err
		}
	}
	if err := w.leave(taken.Buckets, still, taken.BundleID); err != nil {
		return err
	}
	if err := w.exec(`UPDATE _tide_state SET cursor = ?`, taken.Cursor); err != nil {
		return err
	}
	return w.finish()
}
