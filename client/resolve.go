package client

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// Resolver decides what becomes of a row that was changed here and at the server. It returns the row as it
// shall be, nil for none, and the name under which the decision is listed.
type Resolver func(Conflict) (Row, string)

// Row is a row by column: nil, int64, float64, string or []byte. A nil Row is none.
type Row map[string]any

// Conflict is a row that both sides changed. A Row is nil where there is none.
type Conflict struct {
	Table string `json:"table"`
	Key   string `json:"key"`
	// Base is the row before both changes, as the server had it.
	Base   Row `json:"base"`
	Local  Row `json:"local"`
	Server Row `json:"server"`
}

// ServerWins takes the server's row. The local one stays on the list of conflicts.
func ServerWins(c Conflict) (Row, string) { return c.Server, "server wins" }

// LocalWins lays the columns that were changed here over the server's row.
func LocalWins(c Conflict) (Row, string) {
	if c.Local == nil || c.Server == nil {
		return c.Local, "local wins"
	}
	return overlay(c, func(string) bool { return true }), "local wins"
}

// MergeColumns takes each column from the side that changed it; the server's where both did, or where one
// side deleted the row.
func MergeColumns(c Conflict) (Row, string) {
	if c.Local == nil || c.Server == nil {
		return c.Server, "merge by column: the server's, a side deleted the row"
	}
	return overlay(c, func(name string) bool { return c.Base != nil && same(c.Base[name], c.Server[name]) }), "merge by column"
}

// overlay is the server's row with columns that were changed here, where may says so.
func overlay(c Conflict, may func(string) bool) Row {
	merged := Row{}
	for name, v := range c.Server {
		merged[name] = v
		if local := c.Local[name]; (c.Base == nil || !same(c.Base[name], local)) && may(name) {
			merged[name] = local
		}
	}
	return merged
}

func (t *table) row(i image) Row {
	if i == nil {
		return nil
	}
	row := make(Row, len(i))
	for n, c := range t.spec.Columns {
		if _, lacks := i[n].(absent); !lacks {
			row[c.Name] = i[n]
		}
	}
	return row
}

// imageOf takes what a resolver may well give: any number, and booleans.
func (t *table) imageOf(row Row) (image, error) {
	if row == nil {
		return nil, nil
	}
	i := make(image, len(t.spec.Columns))
	for n, c := range t.spec.Columns {
		given, ok := row[c.Name]
		if !ok {
			i[n] = absent{}
			continue
		}
		v, err := driver.DefaultParameterConverter.ConvertValue(given)
		switch yes := v.(type) {
		case bool:
			if v = int64(0); yes {
				v = int64(1)
			}
		case time.Time:
			err = errors.New("SQLite has no times: give the text that the column shall have")
		}
		if err != nil {
			return nil, fmt.Errorf("client: column %s of a resolver's row of %s is a %T: %w", c.Name, t.local, given, err)
		}
		i[n] = v
	}
	return i, nil
}

// rebased is what was changed here and lies over a row of the server. It is kept once that row is in its table: one
// that does not fit has met nothing yet.
type rebased struct {
	seq            int64 // of the change
	conflict       *Conflict
	result, server image
	resolution     string
}

// rebase lays what was changed here over a row of the server, and says how the row shall be.
func (w *writer) rebase(in *inbound) (image, error) {
	t := in.table
	var seq int64
	var baseText *string
	dirty, err := w.get(`SELECT seq, base FROM _tide_dirty WHERE tab = ? AND key = ?`, []any{t.id, in.key}, &seq, &baseText)
	if err != nil || !dirty {
		return in.server, err
	}
	base, err := t.parseImage(baseText)
	if err != nil {
		return nil, err
	}
	local, err := w.readImage(t, in.key)
	if err != nil {
		return nil, err
	}
	server := in.server.over(local)
	for n := range base {
		// A column that came after the row was changed: only the server has had it.
		if _, lacks := base[n].(absent); lacks && local != nil && server != nil {
			local[n] = server[n]
		}
	}
	base = base.over(server)
	over := &rebased{seq: seq, server: server}
	conflict := Conflict{Table: t.local, Key: in.key, Base: t.row(base), Local: t.row(local), Server: t.row(server)}
	switch {
	case local.equal(server):
		over.result = server
	case base.equal(server):
		over.result = local
	case in.own:
		// The server filled in columns of what this device pushed; what was written here since stays on top.
		row, _ := LocalWins(conflict)
		if over.result, err = t.imageOf(row); err != nil {
			return nil, err
		}
	default:
		resolve, ok := w.c.config.Resolvers[t.local]
		if !ok {
			resolve = ServerWins
		}
		var row Row
		row, over.resolution = resolve(conflict)
		if row != nil {
			// A resolver may leave out columns, and may not change the key.
			given, err := t.imageOf(row)
			if err != nil {
				return nil, err
			}
			over.result = given.over(server.over(local))
			for _, k := range t.key {
				over.result[k] = first(server, local)[k]
			}
		}
		over.conflict = &conflict
	}
	in.over = over
	return over.result, nil
}

// keepRebased notes what came of a change, and what is left to push, with the server's row as its base.
func (w *writer) keepRebased(in inbound) error {
	r := in.over
	if r.conflict != nil {
		if err := w.record(in, *r.conflict, in.table.row(r.result), r.resolution); err != nil {
			return err
		}
	}
	if r.result.equal(r.server) {
		return w.exec(`DELETE FROM _tide_dirty WHERE seq = ?`, r.seq)
	}
	gone := int64(0)
	if r.server == nil {
		gone = in.version
	}
	// What waited for the server's row to fit has it now.
	return w.exec(`UPDATE _tide_dirty SET base = ?, gone = ?, held = CASE WHEN held ->> 'code' = 'push_conflict' THEN NULL ELSE held END WHERE seq = ?`, in.table.imageText(r.server), gone, r.seq)
}

func first(images ...image) image {
	for _, i := range images {
		if i != nil {
			return i
		}
	}
	panic("a conflict of two rows that are not there") // they are equal, and no conflict
}

func (w *writer) record(in inbound, c Conflict, result Row, resolution string) error {
	t := in.table
	args := []any{t.id, in.key}
	for _, row := range []Row{c.Base, c.Local, c.Server, result} {
		i, err := t.imageOf(row)
		if err != nil {
			return err
		}
		args = append(args, t.imageText(i))
	}
	if err := w.exec(`INSERT INTO _tide_conflict (tab, key, base, local, server, result, resolution) VALUES (?, ?, ?, ?, ?, ?, ?)`, append(args, resolution)...); err != nil {
		return fmt.Errorf("client: record a conflict: %w", err)
	}
	return nil
}
