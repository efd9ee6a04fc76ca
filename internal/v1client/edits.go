package v1client

import (
	"encoding/json"
	"fmt"
)

// edit is what the device did to one row since the server's state it knows.
type edit struct {
	table, key string
	keyObject  map[string]string
	op         string
	base       int64
	payload    string
	// before is the server's row the edit was made on; empty when there was none.
	before string
}

func (e *edit) id() string { return e.table + "\x00" + e.key }

// edits are netted per key and stay in the order in which the keys were first touched.
type edits struct {
	order []string
	byKey map[string]*edit
}

func (e *edits) len() int { return len(e.byKey) }

func (e *edits) add(next *edit) {
	if e.byKey == nil {
		e.byKey = map[string]*edit{}
	}
	first, known := e.byKey[next.id()]
	if !known {
		e.order = append(e.order, next.id())
		e.byKey[next.id()] = next
		return
	}
	switch {
	case first.op == Insert && next.op == Delete:
		e.remove(first.id())
	case first.op == Insert || next.op == Delete:
		if next.op != Delete {
			next.op = Insert
		}
		first.op, first.payload = next.op, next.payload
	default:
		first.op, first.payload = Update, next.payload
	}
}

func (e *edits) remove(id string) {
	delete(e.byKey, id)
	for i, other := range e.order {
		if other == id {
			e.order = append(e.order[:i:i], e.order[i+1:]...)
			return
		}
	}
}

func (e *edits) list() []*edit {
	list := make([]*edit, 0, len(e.order))
	for _, id := range e.order {
		list = append(list, e.byKey[id])
	}
	return list
}

// Insert adds a row, given whole as JSON.
func (d *Device) Insert(table, payload string) error {
	return d.edit(Insert, table, payload)
}

// Update changes a row, given whole as JSON.
func (d *Device) Update(table, payload string) error {
	return d.edit(Update, table, payload)
}

// Delete removes a row, given by the text of its key.
func (d *Device) Delete(table, key string) error {
	payload, held := d.rows[table][key]
	if !held {
		return fmt.Errorf("delete from %s: the device holds no row %q", table, key)
	}
	return d.edit(Delete, table, payload)
}

func (d *Device) edit(op, table, payload string) error {
	known, ok := d.tables[table]
	if !ok {
		return fmt.Errorf("the device has no table %q", table)
	}
	keyObject, err := payloadKey(known, payload)
	if err != nil {
		return err
	}
	key := keyText(known, keyObject)
	before, held := d.rows[table][key]
	if held == (op == Insert) {
		return fmt.Errorf("%s of row %q in %s: held already: %t", op, key, table, held)
	}
	next := &edit{table: table, key: key, keyObject: keyObject, op: op, base: d.versions[table][key], payload: payload, before: before}
	if op == Delete {
		next.payload = ""
		delete(d.rows[table], key)
	} else {
		d.rows[table][key] = payload
	}
	d.pending.add(next)
	return nil
}

// Discard forgets the edit of one row and shows the row as the server had it.
func (d *Device) Discard(table, key string) error {
	id := (&edit{table: table, key: key}).id()
	e, ok := d.pending.byKey[id]
	if !ok {
		return fmt.Errorf("row %q of %s has no edit that could be discarded", key, table)
	}
	d.pending.remove(id)
	d.set(table, key, d.versions[table][key], e.before)
	return nil
}

// freeze makes all edits the next push.
func (d *Device) freeze() {
	d.frozen = d.pending.list()
	d.pending = edits{}
}

// thaw turns a push that the server refused for good back into edits, with those made since on top.
func (d *Device) thaw() {
	since := d.pending.list()
	d.pending = edits{}
	for _, e := range d.frozen {
		d.pending.add(e)
	}
	d.frozen = nil
	for _, e := range since {
		d.pending.add(e)
	}
}

// rebase puts an edit onto another state of the server: the row as given, or none. Of a row that is
// there before and after, only the columns that the edit changed stay as it has them. It reports false
// when nothing is left to do.
func (e *edit) rebase(version int64, row string) bool {
	if e.op == Update && e.before != "" && row != "" {
		e.payload = merge(e.before, e.payload, row)
	}
	e.base, e.before = version, row
	switch {
	case row == "" && e.op == Delete:
		return false
	case row == "":
		e.op = Insert
	case e.op == Insert:
		e.op = Update
	}
	return true
}

// merge is the server's row with the columns in which an edit differs from the row it was made on.
func merge(before, edited, row string) string {
	var was, is, merged map[string]json.RawMessage
	for text, columns := range map[string]*map[string]json.RawMessage{before: &was, edited: &is, row: &merged} {
		if json.Unmarshal([]byte(text), columns) != nil {
			return edited // the server will say what it thinks of it
		}
	}
	for column, value := range is {
		if !sameValue(string(was[column]), string(value)) {
			merged[column] = value
		}
	}
	text, err := json.Marshal(merged)
	if err != nil {
		return edited
	}
	return string(text)
}

func (e *edit) wire(schema string) map[string]any {
	row := map[string]any{"schema": schema, "table": e.table, "key": e.keyObject, "op": e.op, "base_row_version": e.base}
	if e.op != Delete {
		row["payload"] = json.RawMessage(e.payload)
	}
	return row
}
