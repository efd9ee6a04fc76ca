package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// shape is the synced tables as the file has them. It is replaced, never changed.
type shape struct {
	number int64 // _tide_state.shape
	tables tables
}

// tables are by _tide_table.tab.
type tables map[int64]*table

func (c *Client) tables() tables { return c.shape.Load().tables }

// lookAgain is how long a schema of the server is taken for its newest.
const lookAgain = time.Hour

// refresh follows the server when it has got more tables or columns. A source is told of those that were
// there when it came: so the device goes on as a new one, and fetches its buckets with them.
func (c *Client) refresh(ctx context.Context) error {
	if c.config.Tables != nil || time.Since(c.looked) < lookAgain {
		return nil
	}
	s, _, err := c.readState(ctx)
	if err != nil {
		return err
	}
	told, err := c.remote.schema(ctx, s.source)
	if err == nil && told.Version != told.Newest {
		told, err = c.remote.schema(ctx, rand.Text())
	}
	if err != nil {
		return err
	}
	c.looked = time.Now()
	err = c.transact(ctx, func(w *writer) error {
		if w.state.source != s.source || w.state.version == told.Newest {
			return nil
		}
		if err := w.follow(told.Tables); err != nil {
			return err
		}
		return w.exec(`UPDATE _tide_state SET schema_version = ?, misfit = ''`, told.Newest)
	})
	var misfit misfitError
	if !errors.As(err, &misfit) {
		return err
	}
	// What was synced goes on as it was.
	c.config.Logger.WarnContext(ctx, "the server has new tables or columns, which do not fit", "error", err)
	return c.transact(ctx, func(w *writer) error { return w.exec(`UPDATE _tide_state SET misfit = ?`, misfit.Error()) })
}

// misfitError is why tables of the application cannot be synced.
type misfitError struct{ error }

// follow makes the synced tables be as they are described: it makes those that are not there, adopts those
// that are, and captures what is written to them from now on. Rows that are there already are new to the
// server. With more columns than before, or tables, the device goes on as a new source and fetches anew.
// A table that is not described any more stays: the server says of each of its rows that it does not have it.
func (w *writer) follow(specs []Table) error {
	all, known := slices.Collect(maps.Values(w.tables)), map[string]*table{}
	before := len(all) > 0
	locals, last := map[string]bool{}, int64(0)
	for _, t := range all {
		known[t.spec.Schema+"."+t.spec.Name], locals[t.local] = t, true
		last = max(last, t.id)
	}
	grown, differs := false, false
	for _, spec := range specs {
		old := known[spec.Schema+"."+spec.Name]
		id, local := int64(0), spec.Name
		if old != nil {
			id, local = old.id, old.local
			same, err := sameSpec(old.spec, spec)
			if err != nil {
				return err
			}
			if same {
				continue
			}
			all = slices.DeleteFunc(all, func(t *table) bool { return t == old })
			grown = grown || slices.ContainsFunc(spec.Columns, func(c Column) bool { return old.spec.column(c.Name) < 0 })
		} else {
			if last++; locals[local] {
				local = spec.Schema + "_" + spec.Name
			}
			id, locals[local], grown = last, true, true
		}
		t, err := newTable(id, local, spec)
		if err != nil {
			return err
		}
		t.made = old != nil && old.made
		all, differs = append(all, t), true
	}
	if !differs {
		return nil
	}
	link(all)
	slices.SortFunc(all, func(a, b *table) int { return int(a.id - b.id) })
	if err := w.makeTables(all); err != nil {
		return err
	}
	for _, t := range all {
		spec, err := json.Marshal(t.spec)
		if err != nil {
			return err
		}
		if err := w.exec(`INSERT INTO _tide_table (tab, local, spec, made) VALUES (?, ?, ?, ?) ON CONFLICT (tab) DO UPDATE SET spec = excluded.spec, made = excluded.made`, t.id, t.local, string(spec), t.made); err != nil {
			return err
		}
		if err := w.capture(t); err != nil {
			return err
		}
		if w.tables[t.id] == nil {
			if err := w.adopt(t); err != nil {
				return err
			}
		}
	}
	if err := w.exec(`UPDATE _tide_state SET shape = shape + 1`); err != nil {
		return err
	}
	if grown && before {
		if err := w.become(rand.Text()); err != nil {
			return err
		}
		if err := w.exec(`UPDATE _tide_bucket SET missing = 1`); err != nil {
			return err
		}
	}
	return w.readState()
}

// makeTables makes what is not there.
func (w *writer) makeTables(all []*table) error {
	var misfits []error
	for _, t := range all {
		found, err := w.columnsOf(t.local)
		if err != nil {
			return err
		}
		var statements []string
		switch {
		case found == nil:
			statements, t.made = t.create(), true
		case t.made:
			statements = t.add(found)
		}
		for _, statement := range statements {
			if err := w.exec(statement); err != nil {
				return fmt.Errorf("client: %s: %w", statement, err)
			}
		}
		if len(statements) > 0 {
			if found, err = w.columnsOf(t.local); err != nil {
				return err
			}
		}
		misfits = append(misfits, t.misfits(found)...)
	}
	if len(misfits) > 0 {
		return misfitError{fmt.Errorf("client: these tables cannot be synced as they are:\n%w", errors.Join(misfits...))}
	}
	return nil
}

func sameSpec(a, b Table) (bool, error) {
	x, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	y, err := json.Marshal(b)
	return string(x) == string(y), err
}

// loadTables reads what the server said of the tables when they were made.
func (w *writer) loadTables() error {
	list, err := all(w, func(scan func(...any) error) (*table, error) {
		var id int64
		var local, text string
		var made bool
		if err := scan(&id, &local, &text, &made); err != nil {
			return nil, err
		}
		var spec Table
		if err := json.Unmarshal([]byte(text), &spec); err != nil {
			return nil, fmt.Errorf("client: table %s: %w", local, err)
		}
		t, err := newTable(id, local, spec)
		if err == nil {
			t.made = made
		}
		return t, err
	}, `SELECT tab, local, spec, made FROM _tide_table`)
	if err != nil {
		return err
	}
	link(list)
	w.shape = shape{w.state.shape, make(tables, len(list))}
	for _, t := range list {
		w.tables[t.id] = t
	}
	return nil
}
