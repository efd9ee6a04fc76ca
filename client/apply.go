package client

import (
	"encoding/json"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// inbound is a row of the server on its way into the table.
type inbound struct {
	table   *table
	key     string
	version int64
	buckets []string
	server  image           // nil when it is gone
	payload json.RawMessage // the same as it came
	// fetched rows come from a snapshot, own ones are the echo of what this device pushed: both count also
	// when their version is that of the row held.
	fetched, own bool
	over         *rebased // nil if nothing was changed here
}

// touched is what a transaction did that may break rules over several rows.
type touched struct {
	late    []inbound // unique values that another row held
	written []inbound
	gone    []inbound
}

// name is the row without what is in its table by now: there may be millions.
func (in inbound) name() inbound {
	in.server, in.payload, in.over = nil, nil, nil
	return in
}

func (t tables) of(n rowName) *table {
	for _, t := range t {
		if t.spec.Name == n.Table && t.spec.Schema == n.Schema {
			return t
		}
	}
	return nil
}

// read makes a row of the server ready; nil for a table that this device does not sync.
func (w *writer) read(row wireRow) (*inbound, error) {
	t := w.tables.of(row.rowName)
	if t == nil {
		return nil, nil
	}
	key, err := t.keyFromWire(row.Key)
	if err != nil {
		return nil, err
	}
	in := &inbound{table: t, key: key, version: row.Version, buckets: row.Buckets}
	if row.Op != "DELETE" {
		in.payload = row.Payload
		if in.server, err = t.fromWire(row.Payload); err == nil && in.server == nil {
			err = fmt.Errorf("row %s of table %s has no payload", key, t.local)
		}
	}
	return in, err
}

// apply brings one row: what the server says, with what was changed here since on top.
func (w *writer) apply(in inbound) error {
	var version, set int64
	held, err := w.get(`SELECT version, buckets FROM _tide_row WHERE tab = ? AND key = ?`, []any{in.table.id, in.key}, &version, &set)
	if err != nil || held && (version > in.version || version == in.version && !in.fetched && !in.own) {
		return err
	}
	result := in.server
	if w.dirty {
		if result, err = w.rebase(&in); err != nil {
			return err
		}
	}
	return w.settleRow(in, result)
}

// settleRow writes the result to the table and notes what is held. What does not fit goes to the inbox.
func (w *writer) settleRow(in inbound, result image) error {
	var err error
	if result == nil {
		err = w.remove(in.table, in.key)
		if len(in.table.children) > 0 {
			w.page.gone = append(w.page.gone, in.name())
		}
	} else {
		err = w.put(in.table, result)
		if len(in.table.parents) > 0 {
			w.page.written = append(w.page.written, in.name())
		}
	}
	switch code := constraint(err); {
	case err == nil:
		return w.note(in)
	case code == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		// The row that has the value may be about to give it away.
		in.server = result
		w.page.late = append(w.page.late, in)
		return nil
	case code != 0:
		return w.refuse(in, err)
	}
	return err
}

// note remembers that a row is as the server has it, but for local changes.
func (w *writer) note(in inbound) error {
	if in.over != nil {
		if err := w.keepRebased(in); err != nil {
			return err
		}
	}
	if err := w.exec(`DELETE FROM _tide_inbox WHERE tab = ? AND key = ? AND version <= ?`, in.table.id, in.key, in.version); err != nil {
		return err
	}
	if in.payload == nil {
		return w.exec(`DELETE FROM _tide_row WHERE tab = ? AND key = ?`, in.table.id, in.key)
	}
	set, err := w.setOf(in.buckets)
	if err != nil {
		return err
	}
	return w.exec(`INSERT INTO _tide_row (tab, key, version, buckets) VALUES (?, ?, ?, ?)
		ON CONFLICT (tab, key) DO UPDATE SET version = excluded.version, buckets = excluded.buckets`, in.table.id, in.key, in.version, set)
}

// refuse keeps a row that does not fit. The row that was held stays as it was.
func (w *writer) refuse(in inbound, why error) error {
	if in.payload == nil {
		return nil
	}
	buckets, err := json.Marshal(in.buckets)
	if err != nil {
		return err
	}
	w.c.config.Logger.WarnContext(w.ctx, "a row of the server does not fit: it waits in the inbox", "table", in.table.local, "key", in.key, "error", why)
	return w.exec(`INSERT INTO _tide_inbox (tab, key, version, buckets, payload, reason) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (tab, key) DO UPDATE SET version = excluded.version, buckets = excluded.buckets, payload = excluded.payload, reason = excluded.reason`,
		in.table.id, in.key, in.version, string(buckets), string(in.payload), why.Error())
}

// constraint is the extended code of a constraint that failed, or of a value of the wrong type; 0 for
// anything else.
func constraint(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT || e.Code()&0xff == sqlite3.SQLITE_MISMATCH) {
		return e.Code()
	}
	return 0
}

// finish is called once all rows of a transaction are applied: rows that swapped a unique value, rows
// that wait in the inbox, and foreign keys.
func (w *writer) finish() error {
	if err := w.finishLate(); err != nil {
		return err
	}
	if err := w.finishInbox(); err != nil {
		return err
	}
	if err := w.finishLate(); err != nil {
		return err
	}
	return w.finishForeignKeys()
}

// finishLate removes all rows that stood in each other's way, and writes them then.
func (w *writer) finishLate() error {
	late := w.page.late
	w.page.late = nil
	for len(late) > 0 {
		if err := w.exec(`SAVEPOINT late`); err != nil {
			return err
		}
		for _, in := range late {
			if err := w.remove(in.table, in.key); err != nil {
				return err
			}
		}
		var failed inbound
		var why error
		at := -1
		for i, in := range late {
			if why = w.put(in.table, in.server); why != nil {
				failed, at = in, i
				break
			}
		}
		switch {
		case at < 0:
			for _, in := range late {
				if err := w.note(in); err != nil {
					return err
				}
			}
			return w.exec(`RELEASE late`)
		case constraint(why) == 0:
			return why
		}
		if err := w.exec(`ROLLBACK TO late`); err != nil {
			return err
		}
		if err := w.exec(`RELEASE late`); err != nil {
			return err
		}
		if err := w.refuse(failed, why); err != nil {
			return err
		}
		late = append(late[:at:at], late[at+1:]...)
	}
	return nil
}

// finishInbox tries again what did not fit before.
func (w *writer) finishInbox() error {
	waiting, err := all(w, func(scan func(...any) error) (in inbound, err error) {
		var tab int64
		var buckets, payload string
		if err := scan(&tab, &in.key, &in.version, &buckets, &payload); err != nil {
			return in, err
		}
		in.table, in.payload, in.fetched = w.tables[tab], json.RawMessage(payload), true
		if err := json.Unmarshal([]byte(buckets), &in.buckets); err != nil || in.table == nil {
			return in, err
		}
		in.server, err = in.table.fromWire(in.payload)
		return in, err
	}, `SELECT tab, key, version, buckets, payload FROM _tide_inbox ORDER BY version`)
	if err != nil {
		return err
	}
	for _, in := range waiting {
		if in.table == nil || !w.fits(in) {
			continue
		}
		if err := w.apply(in); err != nil {
			return err
		}
	}
	return nil
}

// fits says that the parents of a row are there.
func (w *writer) fits(in inbound) bool {
	missing, err := w.lacksParent(in.table, in.server)
	return err == nil && missing == nil
}

// lacksParent is the parent that a row names and that is not there.
func (w *writer) lacksParent(t *table, i image) (*parent, error) {
next:
	for n := range t.parents {
		p := &t.parents[n]
		values := make([]any, len(p.columns))
		for k, column := range p.columns {
			values[k] = i[column]
			if _, lacks := values[k].(absent); lacks || values[k] == nil {
				continue next
			}
		}
		found, err := w.get(p.exists, values, new(int))
		if err != nil || !found {
			return p, err
		}
	}
	return nil, nil
}

// finishForeignKeys looks at the rows that were written and at the children of those that went. A row of
// the server without its parent waits in the inbox; a local one is for the server to judge.
func (w *writer) finishForeignKeys() error {
	written, gone := w.page.written, w.page.gone
	w.page = touched{}
	for len(written) > 0 || len(gone) > 0 {
		for _, in := range gone {
			for _, child := range in.table.children {
				orphans, err := w.orphans(in, child)
				if err != nil {
					return err
				}
				written = append(written, orphans...)
			}
		}
		gone = nil
		for _, in := range written {
			now, err := w.readImage(in.table, in.key)
			if err != nil {
				return err
			}
			if now == nil {
				continue
			}
			missing, err := w.lacksParent(in.table, now)
			if err != nil {
				return err
			}
			if missing == nil {
				continue
			}
			dirty, err := w.get(`SELECT 1 FROM _tide_dirty WHERE tab = ? AND key = ?`, []any{in.table.id, in.key}, new(int))
			if err != nil {
				return err
			}
			if dirty {
				continue
			}
			if in.payload == nil {
				in.payload = in.table.payload(now)
			}
			if err := w.refuse(in, fmt.Errorf("FOREIGN KEY: the row of %s that it names is not here", missing.table.local)); err != nil {
				return err
			}
			if err := w.remove(in.table, in.key); err != nil {
				return err
			}
			if err := w.exec(`DELETE FROM _tide_row WHERE tab = ? AND key = ?`, in.table.id, in.key); err != nil {
				return err
			}
			in.server = now
			gone = append(gone, in)
		}
		written = nil
	}
	return nil
}

// orphans are rows that name a parent that went.
func (w *writer) orphans(in inbound, c child) ([]inbound, error) {
	keys := in.table.keyValues(in.key)
	values := make([]any, len(c.refs))
	for i, ref := range c.refs {
		at := -1
		for n, k := range in.table.key {
			if k == ref {
				at = n
			}
		}
		if at < 0 {
			return nil, nil // by a column that is not the key: the server says what becomes of the child
		}
		values[i] = keys[at]
	}
	return all(w, func(scan func(...any) error) (orphan inbound, err error) {
		orphan.table = c.table
		var names string
		if err := scan(&orphan.key, &orphan.version, &names); err != nil {
			return orphan, err
		}
		return orphan, json.Unmarshal([]byte(names), &orphan.buckets)
	}, `SELECT o.key, r.version, s.names FROM (`+c.find+`) AS o
		JOIN _tide_row AS r ON r.tab = `+fmt.Sprint(c.table.id)+` AND r.key = o.key JOIN _tide_set AS s ON s.buckets = r.buckets`, values...)
}

// payload is an image as the server would send it.
func (t *table) payload(i image) json.RawMessage {
	b := []byte{'{'}
	for n, c := range t.spec.Columns {
		if _, lacks := i[n].(absent); lacks {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = c.appendWire(append(appendString(b, c.Name), ':'), i[n])
	}
	return append(b, '}')
}
