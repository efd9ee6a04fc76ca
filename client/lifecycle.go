package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
)

// ErrPending says that there are local changes the server does not have.
var ErrPending = errors.New("the server does not have all local changes")

// rotate makes this device a new source: the server knows more of the old one than this file does, because
// the file is an old copy, or less, because it lost its history. What was under way is a local change
// again, and if it had arrived after all, the pull finds nothing left to do.
func (c *Client) rotate(ctx context.Context, from state, why string) error {
	c.config.Logger.WarnContext(ctx, "this device goes on as a new source", "why", why)
	return c.transact(ctx, func(w *writer) error {
		if w.state.source != from.source {
			return nil // another process did
		}
		return w.become(rand.Text())
	})
}

// become makes this device another source, which has pushed nothing and stands nowhere.
func (w *writer) become(source string) error {
	if err := w.thaw(); err != nil {
		return err
	}
	return w.exec(`UPDATE _tide_state SET source_id = ?, next_bundle = 1, cursor = '', connected = 0, initialization_id = ''`, source)
}

// thaw makes the push under way local changes again.
func (w *writer) thaw() error {
	// A row that was written again meanwhile has had its base here.
	if err := w.exec(`INSERT INTO _tide_dirty (tab, key, base, seed) SELECT tab, key, base, seed FROM _tide_outbox WHERE true ORDER BY ordinal ON CONFLICT (tab, key) DO UPDATE SET base = excluded.base`); err != nil {
		return err
	}
	if err := w.exec(`DELETE FROM _tide_outbox`); err != nil {
		return err
	}
	return w.exec(`UPDATE _tide_state SET attempted = 0, looked = coalesce((SELECT max(seq) FROM _tide_dirty), 0)`)
}

// Detach ends the attachment to the user: his rows leave the file, and the next Open may name another. With
// local changes that the server does not have it is refused, unless they shall be discarded.
func (c *Client) Detach(ctx context.Context, discard bool) error {
	c.syncing.Lock()
	defer c.syncing.Unlock()
	return c.transact(ctx, func(w *writer) error {
		var pending int
		if _, err := w.get(`SELECT (SELECT count(*) FROM _tide_dirty) + (SELECT count(*) FROM _tide_outbox)`, nil, &pending); err != nil {
			return err
		}
		if pending > 0 && !discard {
			return fmt.Errorf("client: %w: %d rows wait. Sync, or discard them", ErrPending, pending)
		}
		return w.applying(func() error {
			for _, t := range w.tables {
				w.changed[t.id] = true
				if err := w.exec(`DELETE FROM ` + t.name()); err != nil {
					return err
				}
			}
			for _, table := range []string{"bucket", "set", "row", "dirty", "outbox", "inbox", "conflict"} {
				if err := w.exec(`DELETE FROM _tide_` + table); err != nil {
					return err
				}
			}
			if err := w.dropStage(); err != nil {
				return err
			}
			return w.exec(`UPDATE _tide_state SET user_id = '', source_id = ?, next_bundle = 1, cursor = '', pushed = '', connected = 0, initialization_id = '', attempted = 0`, rand.Text())
		})
	})
}

// Rebuild makes the next Sync fetch buckets anew, all when none is named. It replaces what is here in one
// transaction, with local changes on top.
func (c *Client) Rebuild(ctx context.Context, buckets ...string) error {
	return c.transact(ctx, func(w *writer) error {
		names, err := all(w, func(scan func(...any) error) (name string, err error) { return name, scan(&name) }, `SELECT name FROM _tide_bucket`)
		if err != nil {
			return err
		}
		for _, bucket := range buckets {
			if !slices.Contains(names, bucket) {
				return fmt.Errorf("client: bucket %s is not here: Sync brings those that the user may read", bucket)
			}
		}
		if len(buckets) == 0 {
			buckets = names
		}
		for _, bucket := range buckets {
			if err := w.exec(`UPDATE _tide_bucket SET missing = 1 WHERE name = ?`, bucket); err != nil {
				return err
			}
		}
		return nil
	})
}

// Status is what a device says of itself.
type Status struct {
	User, Source string
	// Pending rows wait to be pushed, Refused ones for the application, Inbound ones of the server do not fit.
	Pending, Refused, Inbound int
	// Conflicts were resolved.
	Conflicts int
	// Buckets are here, or will be with the next Sync; Tables by their names here.
	Buckets, Tables []string
	// Misfit is why the tables here are not followed to what the server has by now; empty if they are.
	Misfit string
}

// Status reads it from the file.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.transact(ctx, func(w *writer) error {
		if _, err := w.get(`SELECT user_id, source_id,
			(SELECT count(*) FROM _tide_dirty WHERE held IS NULL) + (SELECT count(*) FROM _tide_outbox), (SELECT count(*) FROM _tide_dirty WHERE held IS NOT NULL),
			(SELECT count(*) FROM _tide_inbox), (SELECT count(*) FROM _tide_conflict), misfit FROM _tide_state`, nil,
			&s.User, &s.Source, &s.Pending, &s.Refused, &s.Inbound, &s.Conflicts, &s.Misfit); err != nil {
			return err
		}
		names := func(scan func(...any) error) (name string, err error) { return name, scan(&name) }
		if s.Buckets, err = all(w, names, `SELECT name FROM _tide_bucket ORDER BY name`); err != nil {
			return err
		}
		s.Tables, err = all(w, names, `SELECT local FROM _tide_table ORDER BY tab`)
		return err
	})
}
