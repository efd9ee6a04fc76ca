package v1client

import (
	"errors"
	"fmt"
)

// Conflict is one row of a push that somebody else changed before.
type Conflict struct {
	Table, Key    string
	Op            string
	Base          int64
	ServerVersion int64
	ServerDeleted bool
	// ServerRow is empty when there is none.
	ServerRow string
}

// ConflictError is a 409 push_conflict.
type ConflictError struct {
	*APIError
	// Conflict is the first conflicting row, the only one that v1 knows.
	Conflict Conflict
	// All are all of them.
	All []Conflict
}

func (e *ConflictError) Unwrap() error { return e.APIError }

// Rejected is one row that the database refuses.
type Rejected struct {
	Ordinal                    int64
	Table, Key, Op             string
	SQLState                   string
	Constraint, Column, Detail string
}

// RejectedError is a 422 push_rejected.
type RejectedError struct {
	*APIError
	Rows []Rejected
}

func (e *RejectedError) Unwrap() error { return e.APIError }

func (e *RejectedError) Error() string { return fmt.Sprintf("%v: %+v", e.APIError, e.Rows) }

func (d *Device) parseRefusedPush(err error) error {
	var refusal *APIError
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.Code {
	case "push_conflict":
		return d.parseConflicts(refusal)
	case "push_rejected":
		return d.parseRejected(refusal)
	}
	return err
}

func (d *Device) parseConflicts(refusal *APIError) error {
	o := parseObject("conflict", refusal.Body)
	first, err := d.parseConflict(o.raw("conflict"))
	if err != nil {
		return err
	}
	found := &ConflictError{APIError: refusal, Conflict: first}
	position := -1
	for _, text := range o.list("conflicts") {
		conflict, err := d.parseConflict(text)
		if err != nil {
			return err
		}
		at := d.frozenAt(conflict.Table, conflict.Key)
		o.require(at > position, "conflicts", "row %q of %q is not in request order", conflict.Key, conflict.Table)
		position = at
		found.All = append(found.All, conflict)
	}
	o.require(len(found.All) > 0 && found.All[0] == first, "conflicts", "the first of them is not the conflict")
	if o.err != nil {
		return o.err
	}
	return found
}

func (d *Device) frozenAt(table, key string) int {
	for i, e := range d.frozen {
		if e.table == table && e.key == key {
			return i
		}
	}
	return -1
}

func (d *Device) parseConflict(text []byte) (Conflict, error) {
	o := parseObject("conflict", text)
	c := Conflict{Table: o.text("table"), Op: o.text("op"), Base: o.int("base_row_version"),
		ServerVersion: o.int("server_row_version"), ServerDeleted: o.bool("server_row_deleted")}
	schema := o.text("schema")
	o.require(schema == d.config.Schema, "schema", "schema %q is not the device's", schema)
	row := o.raw("server_row")
	table, known := d.tables[c.Table]
	o.require(known, "table", "table %q is not one of the device", c.Table)
	if o.err != nil {
		return c, o.err
	}
	key := o.key("key", table)
	c.Key = keyText(table, key)
	at := d.frozenAt(c.Table, c.Key)
	if at < 0 {
		o.fail("key", "row %q of %q was not sent", c.Key, c.Table)
		return c, o.err
	}
	sent := d.frozen[at]
	o.require(c.Op == sent.op, "op", "row %q was sent as %s, not %s", c.Key, sent.op, c.Op)
	o.require(c.Base == sent.base, "base_row_version", "row %q was sent with base %d, not %d", c.Key, sent.base, c.Base)
	o.require(c.ServerVersion >= 0, "server_row_version", "%d is below 0", c.ServerVersion)
	o.require(!c.ServerDeleted || c.ServerVersion > 0, "server_row_deleted", "a row that never existed is deleted")
	if string(row) == "null" {
		o.require(c.ServerDeleted || c.ServerVersion == 0, "server_row", "a live row of version %d is not shown", c.ServerVersion)
	} else {
		o.require(!c.ServerDeleted && c.ServerVersion > 0, "server_row", "a row that is gone or never was is shown: %s", clip(row))
		o.holdPayload("server_row", table, row, key)
		c.ServerRow = string(row)
	}
	o.require(c.ServerVersion != sent.base || c.ServerRow == "" && sent.op != Insert || c.ServerRow != "" && sent.op == Insert,
		"server_row_version", "row %q is refused although its base %d is the server's version", c.Key, sent.base)
	return c, o.err
}

func (d *Device) parseRejected(refusal *APIError) error {
	o := parseObject("rejected", refusal.Body)
	found := &RejectedError{APIError: refusal}
	list := o.list("rejected")
	o.require(len(list) > 0, "rejected", "no row is named")
	for _, text := range list {
		r := parseObject("rejected", text)
		row := Rejected{Ordinal: r.int("row_ordinal"), Table: r.text("table"), Op: r.text("op"), SQLState: r.text("sqlstate")}
		for field, value := range map[string]*string{"constraint": &row.Constraint, "column": &row.Column, "detail": &row.Detail} {
			if r.has(field) {
				*value = r.text(field)
			}
		}
		schema := r.text("schema")
		r.require(schema == d.config.Schema, "schema", "schema %q is not the device's", schema)
		r.require(len(row.SQLState) == 5, "sqlstate", "%q is not a SQLSTATE", row.SQLState)
		if row.Ordinal < 0 || row.Ordinal >= int64(len(d.frozen)) {
			r.fail("row_ordinal", "%d of %d rows", row.Ordinal, len(d.frozen))
			return r.err
		}
		sent := d.frozen[row.Ordinal]
		r.require(row.Table == sent.table && row.Op == sent.op, "row_ordinal", "row %d was not a %s of %q", row.Ordinal, row.Op, row.Table)
		row.Key = keyText(d.tables[sent.table], r.key("key", d.tables[sent.table]))
		r.require(row.Key == sent.key, "key", "row %d was not %q", row.Ordinal, row.Key)
		if r.err != nil {
			return r.err
		}
		found.Rows = append(found.Rows, row)
	}
	if o.err != nil {
		return o.err
	}
	return found
}

// resolve ends a conflict and makes edits of the push again.
func (d *Device) resolve(c Conflict) {
	d.conflicts = append(d.conflicts, c)
	d.thaw()
	e, waiting := d.pending.byKey[(&edit{table: c.Table, key: c.Key}).id()]
	if !waiting {
		// Edits made since undid the conflicting one.
		d.set(c.Table, c.Key, c.ServerVersion, c.ServerRow)
		return
	}
	if d.config.ClientWins && e.rebase(c.ServerVersion, c.ServerRow) {
		d.show(e, c.ServerVersion)
		return
	}
	d.pending.remove(e.id())
	d.set(c.Table, c.Key, c.ServerVersion, c.ServerRow)
}
