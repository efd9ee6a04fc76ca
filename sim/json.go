package sim

import (
	"encoding/json"

	"github.com/pgtide/pgtide/internal/v1client"
)

// field is a value of a row, as text.
func field(row, column string) string {
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(row), &values); err != nil {
		return ""
	}
	var text string
	if json.Unmarshal(values[column], &text) == nil {
		return text
	}
	return string(values[column])
}

// keyOf names a row the way devices of protocol v1 do.
func keyOf(table v1client.Table, row string) string {
	if len(table.Key) == 1 {
		return field(row, table.Key[0])
	}
	key := map[string]string{}
	for _, column := range table.Key {
		key[column] = field(row, column)
	}
	text, err := json.Marshal(key)
	if err != nil {
		panic(err) // a map of strings
	}
	return string(text)
}

func canonical(row string) string {
	if row == "" {
		return ""
	}
	text, err := v1client.Canonical(row)
	if err != nil {
		return row
	}
	return text
}

func union(a, b map[string]string) map[string]bool {
	all := map[string]bool{}
	for key := range a {
		all[key] = true
	}
	for key := range b {
		all[key] = true
	}
	return all
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
