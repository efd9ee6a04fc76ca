package client

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// table is a synced table, with the SQL that is written for it.
type table struct {
	id      int64
	local   string // its name in this database
	made    bool   // by this package
	spec    Table
	key     []int          // which columns are the key
	at      map[string]int // where each column is
	absent  image          // no column has a value
	uniques [][]string
	parents []parent
	// children are the foreign keys that lead here.
	children []child

	read, remove string
}

type parent struct {
	table   *table
	columns []int // here
	exists  string
	orphans string // keys of rows whose parent is not there
}

type child struct {
	table *table
	refs  []int // columns of the parent
	find  string
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteNames(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quoteName(name)
	}
	return strings.Join(quoted, ", ")
}

// equals is "a" = ? AND "b" = ?
func equals(names []string) string {
	terms := make([]string, len(names))
	for i, name := range names {
		terms[i] = quoteName(name) + " = ?"
	}
	return strings.Join(terms, " AND ")
}

func (t *table) name() string { return quoteName(t.local) }

func (t *table) names() []string {
	names := make([]string, len(t.spec.Columns))
	for i, c := range t.spec.Columns {
		names[i] = c.Name
	}
	return names
}

func newTable(id int64, local string, spec Table) (*table, error) {
	t := &table{id: id, local: local, spec: spec, at: map[string]int{}, absent: slices.Repeat(image{absent{}}, len(spec.Columns))}
	for n, c := range spec.Columns {
		t.at[c.Name] = n
	}
	if len(spec.PrimaryKey) == 0 {
		return nil, fmt.Errorf("table %s.%s has no key: it cannot be synced", spec.Schema, spec.Name)
	}
	for _, name := range spec.PrimaryKey {
		n := spec.column(name)
		if n < 0 || spec.Columns[n].Kind == "float" {
			return nil, fmt.Errorf("table %s.%s has the key column %s, which is not synced, or a float: two devices would not agree on its keys", spec.Schema, spec.Name, name)
		}
		t.key = append(t.key, n)
	}
	// As +column: of one that is declared DATETIME, the driver would make a time of what it reads.
	values := make([]string, len(spec.Columns))
	for n, c := range spec.Columns {
		values[n] = "+" + quoteName(c.Name)
	}
	t.read = "SELECT " + strings.Join(values, ", ") + " FROM " + t.name() + " WHERE " + equals(spec.PrimaryKey)
	t.remove = "DELETE FROM " + t.name() + " WHERE " + equals(spec.PrimaryKey)
	return t, nil
}

// put is the statement that writes a row of which these columns are given.
func (t *table) put(columns []string) string {
	var set []string
	for _, name := range columns {
		if !slices.Contains(t.spec.PrimaryKey, name) {
			set = append(set, quoteName(name)+" = excluded."+quoteName(name))
		}
	}
	do := "NOTHING"
	if len(set) > 0 {
		do = "UPDATE SET " + strings.Join(set, ", ")
	}
	return "INSERT INTO " + t.name() + " (" + quoteNames(columns) + ") VALUES (?" + strings.Repeat(", ?", len(columns)-1) + ") ON CONFLICT (" + quoteNames(t.spec.PrimaryKey) + ") DO " + do
}

// keyOf is the key of a row as text: that of the one column, or of several as SQL literals.
func (t *table) keyOf(row string) string {
	parts := make([]string, len(t.key))
	for i, n := range t.key {
		c := t.spec.Columns[n]
		name := row + "." + quoteName(c.Name)
		switch c.Kind {
		case "integer", "boolean":
			parts[i] = "CAST(" + name + " AS TEXT)"
		case "bytes":
			parts[i] = "lower(hex(" + name + "))"
		default:
			parts[i] = "+" + name // as in t.read
		}
		if len(t.key) > 1 {
			parts[i] = "quote(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, " || ',' || ")
}

func joinKey(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	quoted := make([]string, len(parts))
	for i, part := range parts {
		quoted[i] = literal(part)
	}
	return strings.Join(quoted, ",")
}

func (t *table) splitKey(key string) []string {
	if len(t.key) == 1 {
		return []string{key}
	}
	var parts []string
	for rest := key; len(rest) > 1; {
		end := 1
		for ; end < len(rest); end++ {
			if rest[end] == '\'' {
				if end+1 < len(rest) && rest[end+1] == '\'' {
					end++
					continue
				}
				break
			}
		}
		parts = append(parts, strings.ReplaceAll(rest[1:end], "''", "'"))
		rest = strings.TrimPrefix(rest[min(end+1, len(rest)):], ",")
	}
	return parts
}

// keyValues are what the key columns hold in SQLite.
func (t *table) keyValues(key string) []any {
	parts := t.splitKey(key)
	values := make([]any, len(t.key))
	for i, n := range t.key {
		values[i] = parts[i]
		switch t.spec.Columns[n].Kind {
		case "integer", "boolean":
			if number, err := strconv.ParseInt(parts[i], 10, 64); err == nil {
				values[i] = number
			}
		case "bytes":
			if blob, err := hex.DecodeString(parts[i]); err == nil {
				values[i] = blob
			}
		}
	}
	return values
}

// keyFromWire reads the key of a row of the server, whose values are strings.
func (t *table) keyFromWire(raw json.RawMessage) (string, error) {
	if !gjson.ValidBytes(raw) {
		return "", fmt.Errorf("key of a row of %s is no JSON: %.200s", t.local, raw)
	}
	return t.keyFromValid(gjson.ParseBytes(raw))
}

func (t *table) keyFromValid(key gjson.Result) (string, error) {
	parts := make([]string, len(t.key))
	found := 0
	text := jsonText(key.Raw)
	_, err := text.object(0, func(name string, at int) (int, error) {
		value, end, err := text.value(at)
		for i, n := range t.key {
			if t.spec.Columns[n].Name == name && value.Type == gjson.String {
				parts[i] = value.Str
				found++
			}
		}
		return end, err
	})
	if err != nil || found != len(t.key) {
		return "", fmt.Errorf("key of a row of %s is not (%s): %s", t.local, quoteNames(t.spec.PrimaryKey), key.Raw)
	}
	for i, n := range t.key {
		c := t.spec.Columns[n]
		text := parts[i]
		switch c.Kind {
		case "boolean":
			text = strings.NewReplacer("true", "1", "false", "0").Replace(text)
		case "bytes":
			blob, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return "", fmt.Errorf("key of a row of %s: %w", t.local, err)
			}
			text = hex.EncodeToString(blob)
		}
		parts[i] = text
	}
	return joinKey(parts), nil
}

// appendKey is the same the other way round.
func (t *table) appendKey(b []byte, key string) []byte {
	b = append(b, '{')
	for i, v := range t.keyValues(key) {
		c := t.spec.Columns[t.key[i]]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, c.Name), ':')
		if text := c.appendWire(nil, v); text[0] == '"' {
			b = append(b, text...)
		} else {
			b = appendString(b, string(text))
		}
	}
	return append(b, '}')
}

// link finds the foreign keys among the tables.
func link(tables []*table) {
	byName := map[string]*table{}
	for _, t := range tables {
		byName[t.spec.Schema+"."+t.spec.Name] = t
		t.parents, t.children = nil, nil
	}
	for _, t := range tables {
		for _, key := range t.spec.ForeignKeys {
			p, ok := byName[key.References.Schema+"."+key.References.Table]
			if !ok {
				continue
			}
			here := parent{table: p, exists: "SELECT 1 FROM " + p.name() + " WHERE " + equals(key.References.Columns)}
			there := child{table: t, find: "SELECT " + t.keyOf("c") + " AS key FROM " + t.name() + " AS c WHERE " + equals(key.Columns)}
			var given, leads []string
			for i := range key.Columns {
				here.columns = append(here.columns, t.spec.column(key.Columns[i]))
				there.refs = append(there.refs, p.spec.column(key.References.Columns[i]))
				given = append(given, "c."+quoteName(key.Columns[i])+" IS NOT NULL")
				leads = append(leads, "p."+quoteName(key.References.Columns[i])+" = c."+quoteName(key.Columns[i]))
			}
			here.orphans = "SELECT " + t.keyOf("c") + " FROM " + t.name() + " AS c WHERE " + strings.Join(given, " AND ") +
				" AND NOT EXISTS (SELECT 1 FROM " + p.name() + " AS p WHERE " + strings.Join(leads, " AND ") + ")"
			if slices.Contains(here.columns, -1) || slices.Contains(there.refs, -1) {
				continue // the server leaves out keys over columns that it does not sync
			}
			t.parents = append(t.parents, here)
			p.children = append(p.children, there)
		}
	}
}
