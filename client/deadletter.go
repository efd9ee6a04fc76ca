package client

import (
	"context"
	"encoding/json"
	"fmt"
)

// DeadLetter is a local change that the server refuses. The row is still in its table as it was written;
// it waits until the application writes it again, retries or discards it, and rows that need it wait too.
type DeadLetter struct {
	Table string `json:"table"`
	Key   string `json:"key"`
	Held
	// Row is how it is here, Base how the server has it; nil where there is none.
	Row  Row `json:"row"`
	Base Row `json:"base"`
}

// DeadLetters lists them, the oldest first.
func (c *Client) DeadLetters(ctx context.Context) (letters []DeadLetter, err error) {
	err = c.transact(ctx, func(w *writer) error {
		held, err := all(w, func(scan func(...any) error) (h heldChange, err error) {
			return h, scan(&h.seq, &h.tab, &h.key, &h.base, &h.held)
		}, `SELECT seq, tab, key, base, held FROM _tide_dirty WHERE held IS NOT NULL ORDER BY seq`)
		if err != nil {
			return err
		}
		for _, h := range held {
			t := w.tables[h.tab]
			if t == nil {
				continue
			}
			letter := DeadLetter{Table: t.local, Key: h.key}
			if err := json.Unmarshal([]byte(h.held), &letter.Held); err != nil {
				return err
			}
			now, err := w.readImage(t, h.key)
			if err != nil {
				return err
			}
			base, err := t.parseImage(h.base)
			if err != nil {
				return err
			}
			letter.Row, letter.Base = t.row(now), t.row(base)
			letters = append(letters, letter)
		}
		return nil
	})
	return letters, err
}

type heldChange struct {
	change
	held string
}

func (w *writer) letter(name, key string) (t *table, h heldChange, err error) {
	for _, t := range w.tables {
		if t.local != name {
			continue
		}
		h.tab, h.key = t.id, key
		found, err := w.get(`SELECT seq, base FROM _tide_dirty WHERE tab = ? AND key = ? AND held IS NOT NULL`, []any{t.id, key}, &h.seq, &h.base)
		if err == nil && !found {
			err = fmt.Errorf("client: no change of row %s of table %s waits", key, name)
		}
		return t, h, err
	}
	return nil, h, fmt.Errorf("client: table %s is not synced", name)
}

// Retry sends a change again as it is. To mend it, write the row with SQL: that retries it as well.
func (c *Client) Retry(ctx context.Context, table, key string) error {
	defer c.Wake()
	return c.transact(ctx, func(w *writer) error {
		_, h, err := w.letter(table, key)
		if err != nil {
			return err
		}
		return w.exec(`UPDATE _tide_dirty SET held = NULL WHERE seq = ?`, h.seq)
	})
}

// Discard gives a change up: the row is again as the server has it.
func (c *Client) Discard(ctx context.Context, table, key string) error {
	return c.transact(ctx, func(w *writer) error {
		t, h, err := w.letter(table, key)
		if err != nil {
			return err
		}
		base, err := t.parseImage(h.base)
		if err != nil {
			return err
		}
		if err := w.exec(`DELETE FROM _tide_dirty WHERE seq = ?`, h.seq); err != nil {
			return err
		}
		return w.applying(func() error {
			if base == nil {
				return w.remove(t, key)
			}
			return w.put(t, base)
		})
	})
}

// Resolved is a conflict and what came of it.
type Resolved struct {
	ID int64 `json:"id"`
	Conflict
	Result     Row    `json:"result"`
	Resolution string `json:"resolution"`
	At         string `json:"at"`
}

// Conflicts lists what was resolved, the oldest first, after the given one; 0 for all.
func (c *Client) Conflicts(ctx context.Context, after int64) (list []Resolved, err error) {
	err = c.transact(ctx, func(w *writer) error {
		list, err = all(w, func(scan func(...any) error) (r Resolved, err error) {
			var tab int64
			var base, local, server, result *string
			if err := scan(&r.ID, &tab, &r.Key, &base, &local, &server, &result, &r.Resolution, &r.At); err != nil {
				return r, err
			}
			t := w.tables[tab]
			if t == nil {
				return r, nil
			}
			r.Table = t.local
			for from, into := range map[**string]*Row{&base: &r.Base, &local: &r.Local, &server: &r.Server, &result: &r.Result} {
				i, err := t.parseImage(*from)
				if err != nil {
					return r, err
				}
				*into = t.row(i)
			}
			return r, nil
		}, `SELECT id, tab, key, base, local, server, result, resolution, at FROM _tide_conflict WHERE id > ? ORDER BY id`, after)
		return err
	})
	return list, err
}

// ForgetConflicts removes what Conflicts lists up to the given one: they were seen, and would fill the file.
func (c *Client) ForgetConflicts(ctx context.Context, upTo int64) error {
	return c.transact(ctx, func(w *writer) error {
		return w.exec(`DELETE FROM _tide_conflict WHERE id <= ?`, upTo)
	})
}
