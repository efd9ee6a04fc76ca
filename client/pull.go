package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// ErrWait says that another device of the user is filling his bucket.
var ErrWait = errors.New("another device is bringing the first data")

// overtaken ends a step whose answer is for a state that is no more: another process went on from it.
var errOvertaken = errors.New("another process was faster")

func (c *Client) readState(ctx context.Context) (s state, dirty bool, err error) {
	return s, dirty, c.transact(ctx, func(w *writer) error {
		s, dirty = w.state, w.dirty
		return nil
	})
}

// advance runs f if the device stands where it stood when the request was made.
func (c *Client) advance(ctx context.Context, from state, f func(*writer) error) error {
	return c.transact(ctx, func(w *writer) error {
		if w.state.cursor != from.cursor || w.state.source != from.source {
			return errOvertaken
		}
		return f(w)
	})
}

// connect tells the server where the device stands, and drops the buckets that are no longer the user's.
// After reposition it names what it holds, since the server forgot, or went back to an earlier state.
func (c *Client) connect(ctx context.Context, s state, dirty, reposition bool) error {
	ask := map[string]any{"has_local_pending_rows": dirty, "buckets": true, "cursor": s.cursor}
	var positions map[string]position
	if reposition || s.cursor == "" {
		var err error
		if positions, err = c.positions(ctx); err != nil {
			return err
		}
		if reposition || len(positions) > 0 {
			ask["positions"] = positions
			if s.pushed != "" {
				ask["pushed"] = s.pushed
			}
		}
	}
	var answer connected
	if err := c.remote.do(ctx, s.source, http.MethodPost, "/sync/connect", ask, &answer); err != nil {
		return err
	}
	if answer.Resolution == "retry_later" {
		return &WaitError{After: time.Duration(answer.RetryAfter) * time.Second}
	}
	if answer.Cursor == "" {
		return fmt.Errorf("client: the server knows nothing of several buckets: it is too old for this client")
	}
	return c.advance(ctx, s, func(w *writer) error {
		if err := w.exec(`UPDATE _tide_state SET cursor = ?, connected = 1, initialization_id = ?`, answer.Cursor, answer.Initialization); err != nil {
			return err
		}
		if answer.BundleID != nil {
			for _, statement := range []string{
				`UPDATE _tide_row SET version = ?1 WHERE version > ?1`, `UPDATE _tide_inbox SET version = ?1 WHERE version > ?1`, `UPDATE _tide_dirty SET gone = ?1 WHERE gone > ?1`,
			} {
				if err := w.exec(statement, *answer.BundleID); err != nil {
					return err
				}
			}
		}
		// Those that were to be fetched, and are not named any more, were taken away meanwhile. A bucket to be rebuilt still is.
		if err := w.exec(`DELETE FROM _tide_bucket WHERE bundle_id IS NULL`); err != nil {
			return err
		}
		for _, bucket := range slices.Concat(answer.Buckets.Add, answer.Buckets.Repair) {
			if err := w.exec(`INSERT INTO _tide_bucket (name, missing) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET missing = 1`, bucket); err != nil {
				return err
			}
		}
		for _, bucket := range answer.Buckets.Remove {
			if err := w.exec(`DELETE FROM _tide_bucket WHERE name = ?`, bucket); err != nil {
				return err
			}
		}
		if ask["pushed"] != nil {
			if err := w.forgetPush(s, positions, answer.Buckets); err != nil {
				return err
			}
		}
		// What was being fetched is of another cursor.
		if err := w.dropStage(); err != nil {
			return err
		}
		return w.taking(func() error {
			if err := w.leave(answer.Buckets.Remove, 0); err != nil {
				return err
			}
			return w.finish()
		})
	})
}

// forgetPush is for a push that the server knows nothing of any more, because it went back to an earlier
// state: then all that the device holds is fetched anew. Rows of the push whose buckets no answer has told
// are counted to one of these, so that they go where the server does not have them.
func (w *writer) forgetPush(s state, held map[string]position, updates bucketUpdates) error {
	anew := slices.Concat(updates.Repair, updates.Add)
	for bucket := range held {
		if !slices.Contains(anew, bucket) && !slices.Contains(updates.Remove, bucket) {
			return nil // it has the push
		}
	}
	if len(anew) > 0 {
		none, err := w.setOf(nil)
		if err != nil {
			return err
		}
		one, err := w.setOf(anew[:1])
		if err != nil {
			return err
		}
		if err := w.exec(`UPDATE _tide_row SET buckets = ? WHERE buckets = ?`, one, none); err != nil {
			return err
		}
	}
	return w.exec(`UPDATE _tide_state SET pushed = '' WHERE pushed = ?`, s.pushed)
}

// WaitError is ErrWait, with how long.
type WaitError struct{ After time.Duration }

func (e *WaitError) Error() string {
	return fmt.Sprintf("client: %v: try again in %v", ErrWait, e.After)
}

// Is makes it ErrWait.
func (e *WaitError) Is(target error) bool { return target == ErrWait }

func (c *Client) positions(ctx context.Context) (map[string]position, error) {
	positions := map[string]position{}
	return positions, c.transact(ctx, func(w *writer) error {
		_, err := all(w, func(scan func(...any) error) (none struct{}, err error) {
			var name string
			var p position
			err = scan(&name, &p.BundleID, &p.Seal)
			positions[name] = p
			return none, err
		}, `SELECT name, bundle_id, seal FROM _tide_bucket WHERE bundle_id IS NOT NULL`)
		return err
	})
}

// leave takes rows out of buckets, those that the snapshot has excepted, or that are newer than upTo. A row
// that is in no other bucket is gone.
func (w *writer) leave(buckets []string, upTo int64) error {
	if len(buckets) == 0 {
		return nil
	}
	if err := w.leaveInbox(buckets, upTo); err != nil {
		return err
	}
	type set struct {
		id    int64
		names []string
	}
	sets, err := all(w, func(scan func(...any) error) (s set, err error) {
		var names string
		if err := scan(&s.id, &names); err != nil {
			return s, err
		}
		return s, json.Unmarshal([]byte(names), &s.names)
	}, `SELECT buckets, names FROM _tide_set`)
	if err != nil {
		return err
	}
	for _, set := range sets {
		left := slices.DeleteFunc(slices.Clone(set.names), func(b string) bool { return slices.Contains(buckets, b) })
		if len(left) == len(set.names) {
			continue
		}
		for _, t := range w.tables {
			staged, err := w.stagedKeys(t)
			if err != nil {
				return err
			}
			rows, err := all(w, func(scan func(...any) error) (in inbound, err error) {
				in.table, in.fetched = t, true
				return in, scan(&in.key, &in.version)
			}, `SELECT key, version FROM _tide_row AS r WHERE tab = ? AND buckets = ?`+staged, t.id, set.id)
			if err != nil {
				return err
			}
			if err := w.leaveRows(rows, left, upTo); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaveInbox is the same for rows that wait.
func (w *writer) leaveInbox(buckets []string, upTo int64) error {
	waiting, err := all(w, func(scan func(...any) error) (in inbound, err error) {
		var tab int64
		var names string
		if err := scan(&tab, &in.key, &in.version, &names); err != nil {
			return in, err
		}
		in.table = w.tables[tab]
		return in, json.Unmarshal([]byte(names), &in.buckets)
	}, `SELECT tab, key, version, buckets FROM _tide_inbox`)
	if err != nil {
		return err
	}
	for _, in := range waiting {
		left := slices.DeleteFunc(slices.Clone(in.buckets), func(b string) bool { return slices.Contains(buckets, b) })
		if in.table == nil || len(left) == len(in.buckets) || upTo > 0 && in.version > upTo {
			continue
		}
		staged, err := w.stagedKeys(in.table)
		if err != nil {
			return err
		}
		if staged != "" {
			if found, err := w.get(`SELECT 1 FROM (SELECT ? AS key) AS r WHERE true`+staged, []any{in.key}, new(int)); err != nil {
				return err
			} else if !found {
				continue // it comes again
			}
		}
		names, err := json.Marshal(left)
		if err == nil && len(left) > 0 {
			err = w.exec(`UPDATE _tide_inbox SET buckets = ? WHERE tab = ? AND key = ?`, string(names), in.table.id, in.key)
		} else if err == nil {
			err = w.exec(`DELETE FROM _tide_inbox WHERE tab = ? AND key = ?`, in.table.id, in.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leaveRows leaves rows in these buckets alone.
func (w *writer) leaveRows(rows []inbound, left []string, upTo int64) error {
	for _, in := range rows {
		if upTo > 0 && in.version > upTo {
			continue
		}
		if len(left) == 0 {
			in.version = max(in.version, upTo)
			if err := w.apply(in); err != nil {
				return err
			}
			continue
		}
		id, err := w.setOf(left)
		if err != nil {
			return err
		}
		if err := w.exec(`UPDATE _tide_row SET buckets = ? WHERE tab = ? AND key = ?`, id, in.table.id, in.key); err != nil {
			return err
		}
	}
	return nil
}

// pull does all there is to do to stand where the server does.
func (c *Client) pull(ctx context.Context) error {
	for {
		more, err := c.pullStep(ctx)
		var refused *ServerError
		switch {
		case errors.Is(err, errOvertaken):
			continue
		case errors.As(err, &refused) && (refused.Code == "history_changed" || refused.Code == "bucket_list_needed" || refused.Code == "history_pruned"):
			s, dirty, err := c.readState(ctx)
			if err != nil {
				return err
			}
			if err := c.connect(ctx, s, dirty, true); err != nil && !errors.Is(err, errOvertaken) {
				return err
			}
			continue
		case errors.As(err, &refused) && (refused.Code == "bucket_forbidden" || refused.Code == "scope_uninitialized" || refused.Code == "scope_initializing"):
			// Taken from the user since connect said otherwise.
			if err := c.transact(ctx, func(w *writer) error { return w.exec(`UPDATE _tide_state SET connected = 0`) }); err != nil {
				return err
			}
			continue
		case err != nil || !more:
			return err
		}
	}
}

func (c *Client) pullStep(ctx context.Context) (more bool, err error) {
	s, dirty, err := c.readState(ctx)
	if err != nil {
		return false, err
	}
	if !s.connected {
		return true, c.connect(ctx, s, dirty, false)
	}
	if s.initialization != "" {
		return false, nil // this device brings the first data: there is nothing to pull before
	}
	missing, err := c.fetch(ctx, s)
	if err != nil || missing {
		return true, err
	}
	page, err := c.remote.pull(ctx, s, c.config.MaxBundlesPerPage)
	if err != nil {
		return false, err
	}
	// A push that this file knows nothing of: it was made after the file was copied.
	for _, bundle := range page.Bundles {
		if bundle.Source == s.source && (bundle.Number > s.next || bundle.Number == s.next && !s.attempted) {
			return true, c.rotate(ctx, s, fmt.Sprintf("the server has push %d of this source, and the file is an old copy", bundle.Number))
		}
	}
	connect := len(page.Updates.Add)+len(page.Updates.Remove)+len(page.Updates.Repair) > 0
	err = c.advance(ctx, s, func(w *writer) error {
		return w.taking(func() error {
			if err := w.applyPage(page); err != nil {
				return err
			}
			if !page.HasMore {
				// The cursor stands at a seal that is none before that of the push.
				if err := w.exec(`UPDATE _tide_state SET pushed = '' WHERE pushed = ?`, s.pushed); err != nil {
					return err
				}
			}
			return w.exec(`UPDATE _tide_state SET cursor = ?, connected = ?`, page.Cursor, !connect)
		})
	})
	return page.HasMore || connect, err
}

// applyPage applies bundles, each whole: none is seen without the others of its page.
func (w *writer) applyPage(page pulled) error {
	for _, bundle := range page.Bundles {
		if bundle.BundleID <= 0 || bundle.Seal == "" {
			return fmt.Errorf("client: the server sends a bundle without a position")
		}
		for _, bucket := range bundle.Buckets {
			if err := w.exec(`UPDATE _tide_bucket SET bundle_id = ?, seal = ? WHERE name = ?`, bundle.BundleID, bundle.Seal, bucket); err != nil {
				return err
			}
		}
		for _, row := range bundle.Rows {
			in, err := w.read(row)
			if err != nil {
				return err
			}
			if in == nil {
				continue
			}
			in.own = bundle.Source == w.state.source
			if err := w.apply(*in); err != nil {
				return err
			}
		}
		if err := w.finishLate(); err != nil {
			return err
		}
	}
	return w.finish()
}
