package v1client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The operations of the protocol.
const (
	Insert = "INSERT"
	Update = "UPDATE"
	Delete = "DELETE"
)

// Table is one synchronised table of the device. Columns are all of its columns: an answer with one
// more or one less is refused.
type Table struct {
	Name    string
	Key     []string
	Columns []string
}

// Row is a row as bundles and snapshots carry it. A snapshot row has no Op.
type Row struct {
	Schema, Table, Op string
	Key               map[string]string
	Version           int64
	Payload           json.RawMessage
	// key is Key as this device writes it.
	key string
}

func parseBundleRow(rule string, text []byte, d *Device) (Row, error) {
	o := parseObject(rule, text)
	row := o.row(d)
	row.Op = o.text("op")
	switch row.Op {
	case Insert, Update:
		o.payload(&row, d)
	case Delete:
		o.require(!o.has("payload"), "payload", "a DELETE carries a payload")
	default:
		o.fail("op", "%q is not an operation", row.Op)
	}
	return row, o.err
}

func parseSnapshotRow(text []byte, d *Device) (Row, error) {
	o := parseObject("snapshot/row", text)
	row := o.row(d)
	o.require(!o.has("op"), "op", "a snapshot row carries an operation")
	o.payload(&row, d)
	return row, o.err
}

func (o *object) row(d *Device) Row {
	row := Row{Schema: o.text("schema"), Table: o.text("table"), Version: o.positive("row_version")}
	o.require(row.Schema == d.config.Schema, "schema", "schema %q is not the device's %q", row.Schema, d.config.Schema)
	table, known := d.tables[row.Table]
	if !known {
		o.fail("table", "table %q is not one of the device", row.Table)
		return row
	}
	row.Key = o.key("key", table)
	row.key = keyText(table, row.Key)
	return row
}

func (o *object) key(field string, table *Table) map[string]string {
	raw := o.raw(field)
	var values map[string]*string
	if err := json.Unmarshal(raw, &values); err != nil {
		o.fail(field, "%s is not an object of strings", clip(raw))
		return nil
	}
	key := make(map[string]string, len(values))
	for _, column := range table.Key {
		if values[column] == nil {
			o.fail(field, "%s has no key column %q of table %q", clip(raw), column, table.Name)
			return nil
		}
		key[column] = *values[column]
	}
	o.require(len(values) == len(table.Key), field, "%s has more than the key columns of table %q", clip(raw), table.Name)
	return key
}

func (o *object) payload(row *Row, d *Device) {
	if o.err != nil {
		return
	}
	row.Payload = o.raw("payload")
	if o.err == nil {
		o.holdPayload("payload", d.tables[row.Table], row.Payload, row.Key)
	}
}

// holdPayload wants exactly the device's columns and the key that the row names.
func (o *object) holdPayload(field string, table *Table, payload json.RawMessage, key map[string]string) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(payload, &values); err != nil || values == nil {
		o.fail(field, "%s is not an object", clip(payload))
		return
	}
	for _, column := range table.Columns {
		if _, ok := values[column]; !ok {
			o.fail(field, "column %q of table %q is missing in %s", column, table.Name, clip(payload))
		}
	}
	for column := range values {
		o.require(slices.Contains(table.Columns, column), field, "table %q has no column %q", table.Name, column)
	}
	for column, want := range key {
		got, err := scalarText(values[column])
		o.require(err == nil && got == want, field, "column %q is %s where the key says %q", column, clip(values[column]), want)
	}
}

// scalarText is a JSON value of a key column as the key object writes it.
func scalarText(raw json.RawMessage) (string, error) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", fmt.Errorf("a key column is empty")
	case raw[0] == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case raw[0] == '{' || raw[0] == '[':
		return "", fmt.Errorf("a key column holds %s", clip(raw))
	default:
		return string(raw), nil
	}
}

// keyText is how the device names a row: the value of a single key column, else the key object.
func keyText(table *Table, key map[string]string) string {
	if len(table.Key) == 1 {
		return key[table.Key[0]]
	}
	text, err := json.Marshal(key)
	if err != nil {
		panic(err) // A map of strings cannot fail.
	}
	return string(text)
}

func payloadKey(table *Table, payload string) (map[string]string, error) {
	var values map[string]json.RawMessage
	if err := json.NewDecoder(strings.NewReader(payload)).Decode(&values); err != nil {
		return nil, fmt.Errorf("a row of table %q is not a JSON object: %w", table.Name, err)
	}
	key := make(map[string]string, len(table.Key))
	for _, column := range table.Key {
		text, err := scalarText(values[column])
		if err != nil {
			return nil, fmt.Errorf("key column %q of table %q: %w", column, table.Name, err)
		}
		key[column] = text
	}
	return key, nil
}
