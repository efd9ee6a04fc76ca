package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// fetch brings the buckets that are missing, if there are any. Each chunk of the snapshot is kept as it
// comes, so that a cut loses one at most; the tables change in one transaction, once all are there.
func (c *Client) fetch(ctx context.Context, s state) (bool, error) {
	taken, next, err := c.begin(ctx, s)
	if err != nil || taken == nil {
		return false, err
	}
	path := "/sync/snapshot-sessions/" + taken.ID
	chunks := c.chunks(ctx, s.source, path, next, taken.Count)
	defer chunks.close()
	for next < taken.Count {
		chunk, err := chunks.next()
		var refused *ServerError
		if errors.As(err, &refused) && strings.HasPrefix(refused.Code, "snapshot_session_") {
			// It expired while the device was away.
			return true, c.transact(ctx, (*writer).dropStage)
		}
		if err == nil && chunk.rows == 0 {
			err = fmt.Errorf("client: a snapshot of %d rows ends after %d", taken.Count, next)
		}
		if err == nil {
			err = c.advance(ctx, s, func(w *writer) error { return w.stage(taken, next, chunk) })
		}
		if err != nil {
			return true, err
		}
		next += chunk.rows
		c.config.Progress(Progress{"fetch", next, taken.Count})
	}
	err = c.advance(ctx, s, func(w *writer) error { return w.taking(func() error { return w.applySnapshot(*taken) }) })
	if err != nil {
		return true, err
	}
	select {
	case c.fetched <- struct{}{}:
	default: // it is said already
	}
	if err := c.remote.do(ctx, s.source, http.MethodDelete, path, nil, nil); err != nil {
		c.config.Logger.DebugContext(ctx, "the snapshot is left to expire", "error", err)
	}
	return true, nil
}

// begin finds the snapshot that is under way, or asks for one; nil if no bucket is missing.
func (c *Client) begin(ctx context.Context, s state) (taken *snapshot, next int64, err error) {
	var missing []string
	err = c.transact(ctx, func(w *writer) error {
		missing, err = all(w, func(scan func(...any) error) (name string, err error) { return name, scan(&name) }, `SELECT name FROM _tide_bucket WHERE missing = 1 ORDER BY name`)
		if err != nil || len(missing) == 0 {
			return err
		}
		var text string
		found, err := w.get(`SELECT session, next FROM _tide_snapshot WHERE source = ? AND cursor = ?`, []any{s.source, s.cursor}, &text, &next)
		if err != nil || !found {
			return err
		}
		taken = &snapshot{}
		return json.Unmarshal([]byte(text), taken)
	})
	if err != nil || len(missing) == 0 || taken != nil && slices.Equal(slices.Sorted(slices.Values(taken.Buckets)), missing) {
		return taken, next, err
	}
	taken = &snapshot{}
	if err := c.remote.do(ctx, s.source, http.MethodPost, "/sync/snapshot-sessions", map[string]any{"cursor": s.cursor, "buckets": missing}, taken); err != nil {
		return nil, 0, err
	}
	if taken.BundleID <= 0 {
		return nil, 0, errors.New("client: the server gives a snapshot without a position")
	}
	text, err := json.Marshal(taken)
	if err != nil {
		return nil, 0, err
	}
	return taken, 0, c.advance(ctx, s, func(w *writer) error {
		if err := w.dropStage(); err != nil {
			return err
		}
		return w.exec(`INSERT INTO _tide_snapshot (one, source, cursor, session) VALUES (1, ?, ?, ?)`, s.source, s.cursor, string(text))
	})
}

// applySnapshot makes the buckets be as the snapshot has them.
func (w *writer) applySnapshot(taken snapshot) error {
	var next int64
	if found, err := w.get(`SELECT next FROM _tide_snapshot WHERE instr(session, ?)`, []any{taken.ID}, &next); err != nil || !found || next != taken.Count {
		return errors.Join(err, errOvertaken)
	}
	for _, t := range w.tables {
		if met, err := w.met(t); err != nil {
			return err
		} else if met {
			if err := w.unshadow(t); err != nil {
				return err
			}
		}
	}
	for _, bucket := range taken.Buckets {
		if err := w.exec(`INSERT INTO _tide_bucket (name, bundle_id, seal, missing) VALUES (?, ?, ?, 0)
			ON CONFLICT (name) DO UPDATE SET bundle_id = excluded.bundle_id, seal = excluded.seal, missing = 0`, bucket, taken.BundleID, taken.Seal); err != nil {
			return err
		}
	}
	if err := w.leave(taken.Buckets, taken.BundleID); err != nil {
		return err
	}
	ids := slices.Sorted(maps.Keys(w.tables))
	var swapped []*table
	for _, id := range ids {
		if did, err := w.swap(w.tables[id]); err != nil {
			return err
		} else if did {
			swapped = append(swapped, w.tables[id])
		}
	}
	if err := w.swapRows(); err != nil {
		return err
	}
	for _, id := range ids {
		if err := w.applyStage(w.tables[id], taken.BundleID); err != nil {
			return err
		}
	}
	for _, t := range swapped {
		if err := w.waitForParents(t, taken.BundleID); err != nil {
			return err
		}
	}
	if err := w.dropStage(); err != nil {
		return err
	}
	if err := w.exec(`UPDATE _tide_state SET cursor = ?`, taken.Cursor); err != nil {
		return err
	}
	return w.finish()
}
