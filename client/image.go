package client

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// An image is a row: one value of SQLite for each synced column, in their order; nil if there is no row.
// A value is nil, int64, float64, string, []byte, or absent. Nothing is ever converted to float64 that is
// not one in SQLite.
type image []any

// absent is a column that a payload does not have: it keeps what is there.
type absent struct{}

func same(a, b any) bool {
	x, blob := a.([]byte)
	y, too := b.([]byte)
	if blob || too {
		return blob && too && bytes.Equal(x, y)
	}
	return a == b
}

// scanned is the image as SQLite had it: an empty blob is no NULL, which the driver makes of it both ways.
func (i image) scanned() image {
	for n, v := range i {
		if blob, ok := v.([]byte); ok && blob == nil {
			i[n] = []byte{}
		}
	}
	return i
}

func (i image) equal(other image) bool {
	if i == nil || other == nil || len(i) != len(other) {
		return i == nil && other == nil
	}
	for n := range i {
		if !same(i[n], other[n]) {
			return false
		}
	}
	return true
}

// over is the image with what it lacks taken from another.
func (i image) over(below image) image {
	if i == nil {
		return nil
	}
	whole := make(image, len(i))
	for n, v := range i {
		if _, lacks := v.(absent); lacks {
			v = nil
			if below != nil {
				v = below[n]
			}
		}
		whole[n] = v
	}
	return whole
}

// parseImage reads what a trigger wrote: an object of SQL literals, as quote() spells them. Columns that
// came later are absent.
func (t *table) parseImage(text *string) (image, error) {
	if text == nil {
		return nil, nil
	}
	var literals map[string]string
	if err := json.Unmarshal([]byte(*text), &literals); err != nil {
		return nil, fmt.Errorf("image of a row of %s: %w", t.local, err)
	}
	i := make(image, len(t.spec.Columns))
	for n, column := range t.spec.Columns {
		literal, ok := literals[column.Name]
		if !ok {
			i[n] = absent{}
			continue
		}
		var err error
		if i[n], err = parseLiteral(literal); err != nil {
			return nil, fmt.Errorf("column %s of %s: %w", column.Name, t.local, err)
		}
	}
	return i, nil
}

// imageText is the same the other way round.
func (t *table) imageText(i image) *string {
	if i == nil {
		return nil
	}
	literals := make(map[string]string, len(i))
	for n, column := range t.spec.Columns {
		if _, lacks := i[n].(absent); !lacks {
			literals[column.Name] = literal(i[n])
		}
	}
	text, err := json.Marshal(literals)
	if err != nil {
		panic(err) // strings alone
	}
	s := string(text)
	return &s
}

func literal(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		switch {
		case math.IsInf(v, 1):
			return "9.0e+999" // as quote() has it
		case math.IsInf(v, -1):
			return "-9.0e+999"
		}
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".eE") {
			s += ".0"
		}
		return s
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case []byte:
		return "X'" + hex.EncodeToString(v) + "'"
	}
	panic(fmt.Sprintf("a value of type %T", v)) // the driver gives no other
}

func parseLiteral(s string) (any, error) {
	switch {
	case s == "NULL":
		return nil, nil
	case len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'':
		return strings.ReplaceAll(s[1:len(s)-1], "''", "'"), nil
	case len(s) >= 3 && s[0] == 'X':
		return hex.DecodeString(s[2 : len(s)-1])
	case strings.ContainsAny(s, ".eE"):
		f, err := strconv.ParseFloat(s, 64)
		if math.IsInf(f, 0) {
			err = nil // 9.0e+999 is infinity
		}
		return f, err
	}
	return strconv.ParseInt(s, 10, 64)
}

// fromWire reads a payload.
func (t *table) fromWire(payload json.RawMessage) (image, error) {
	if len(payload) == 0 || string(payload) == "null" {
		return nil, nil
	}
	if !gjson.ValidBytes(payload) {
		return nil, fmt.Errorf("payload of a row of %s is no JSON: %.200s", t.local, payload)
	}
	return t.fromValid(gjson.ParseBytes(payload))
}

// fromValid reads a payload in one pass.
func (t *table) fromValid(payload gjson.Result) (image, error) {
	i := slices.Clone(t.absent)
	return i, t.fill(i, payload)
}

// fill sets the columns that a payload has.
func (t *table) fill(i image, payload gjson.Result) error {
	text := jsonText(payload.Raw)
	_, err := text.object(0, func(name string, at int) (int, error) {
		value, end, err := text.value(at)
		if n, known := t.at[name]; known && err == nil {
			if i[n], err = t.spec.Columns[n].fromWire(value); err != nil {
				err = fmt.Errorf("column %s of %s: %w", name, t.local, err)
			}
		}
		return end, err
	})
	return err
}

func (c Column) fromWire(value gjson.Result) (any, error) {
	if value.Type == gjson.Null {
		return nil, nil
	}
	switch c.Kind {
	case "json", "array", "object":
		return value.Raw, nil
	}
	if value.Type == gjson.String {
		if c.Kind == "bytes" {
			return base64.StdEncoding.DecodeString(value.Str)
		}
		return value.Str, nil
	}
	switch c.Kind {
	case "boolean":
		if value.Type == gjson.True {
			return int64(1), nil
		}
		return int64(0), nil
	case "integer":
		return strconv.ParseInt(value.Raw, 10, 64)
	case "float":
		return strconv.ParseFloat(value.Raw, 64)
	}
	return value.Raw, nil // a decimal keeps its digits
}

// appendWire writes a value as the server wants it. What does not fit its column is sent as it is: the
// server says what is wrong with it.
func (c Column) appendWire(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case int64:
		if c.Kind == "boolean" && (v == 0 || v == 1) {
			return strconv.AppendBool(b, v == 1)
		}
		return strconv.AppendInt(b, v, 10)
	case float64:
		return appendFloat(b, v)
	case []byte:
		return appendString(b, base64.StdEncoding.EncodeToString(v))
	case string:
		switch c.Kind {
		case "json", "array", "object":
			if json.Valid([]byte(v)) {
				return append(b, v...)
			}
		case "decimal":
			if v != "" && (v[0] == '-' || '0' <= v[0] && v[0] <= '9') && json.Valid([]byte(v)) {
				return append(b, v...)
			}
		}
		return appendString(b, v)
	}
	panic(fmt.Sprintf("a value of type %T", v)) // absent columns are not sent
}

// appendString escapes only what JSON must have escaped, as the server does: checksums go over the text.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case strings.IndexByte("\b\f\n\r\t", c) >= 0:
			b = append(b, '\\', "bfnrt"[strings.IndexByte("\b\f\n\r\t", c)])
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(b, '"')
}

// appendFloat writes the shortest digits that mean the number, as PostgreSQL does.
func appendFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	if size := math.Abs(f); size != 0 && (size < 1e-4 || size >= 1e15) {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}
