package wire

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// canonical writes JSON the way protocol v1 hashes it: object keys in the order of their bytes, no
// white space, strings as encoding/json writes them, numbers as the float64 they are nearest to.
// It works on the text alone. The buffers are kept from value to value.
type canonical struct {
	in      []byte
	at      int
	out     []byte
	text    []byte   // the string read last, when it had escapes
	members []member // of all objects that are open
	names   []byte   // their names, decoded
	moved   []byte
}

// member is where a member of an object stands: its name in names, its whole text in out.
type member struct{ name, nameEnd, text, textEnd int }

var errNotJSON = errors.New("the value is not JSON")

// appendValue appends the canonical form of one JSON value.
func (c *canonical) appendValue(out, in []byte) ([]byte, error) {
	c.in, c.at, c.out = in, 0, out
	c.members, c.names = c.members[:0], c.names[:0]
	err := c.value()
	c.space()
	if err == nil && c.at != len(c.in) {
		err = errNotJSON
	}
	return c.out, err
}

func (c *canonical) space() {
	for c.at < len(c.in) {
		switch c.in[c.at] {
		case ' ', '\t', '\n', '\r':
			c.at++
		default:
			return
		}
	}
}

// take steps over a character if it is next.
func (c *canonical) take(char byte) bool {
	c.space()
	if c.at < len(c.in) && c.in[c.at] == char {
		c.at++
		return true
	}
	return false
}

func (c *canonical) value() error {
	c.space()
	if c.at == len(c.in) {
		return errNotJSON
	}
	switch char := c.in[c.at]; char {
	case '{':
		return c.object()
	case '[':
		return c.array()
	case '"':
		text, err := c.string()
		c.out = AppendString(c.out, text)
		return err
	case 't':
		return c.word("true")
	case 'f':
		return c.word("false")
	case 'n':
		return c.word("null")
	default:
		return c.number()
	}
}

func (c *canonical) word(word string) error {
	if !bytes.HasPrefix(c.in[c.at:], []byte(word)) {
		return errNotJSON
	}
	c.at += len(word)
	c.out = append(c.out, word...)
	return nil
}

func (c *canonical) array() error {
	c.at++
	c.out = append(c.out, '[')
	for first := true; !c.take(']'); first = false {
		if !first {
			if !c.take(',') {
				return errNotJSON
			}
			c.out = append(c.out, ',')
		}
		if err := c.value(); err != nil {
			return err
		}
	}
	c.out = append(c.out, ']')
	return nil
}

func (c *canonical) object() error {
	c.at++
	c.out = append(c.out, '{')
	start, first, names := len(c.out), len(c.members), len(c.names)
	sorted := true
	for n := 0; !c.take('}'); n++ {
		if n > 0 && !c.take(',') {
			return errNotJSON
		}
		m := member{name: len(c.names), text: len(c.out)}
		c.space()
		name, err := c.string()
		if err != nil {
			return err
		}
		c.names = append(c.names, name...)
		m.nameEnd = len(c.names)
		c.out = append(AppendString(c.out, name), ':')
		if !c.take(':') {
			return errNotJSON
		}
		if err := c.value(); err != nil {
			return err
		}
		c.out = append(c.out, ',')
		m.textEnd = len(c.out)
		if n > 0 && c.compare(c.members[len(c.members)-1], m) >= 0 {
			sorted = false
		}
		c.members = append(c.members, m)
	}
	if !sorted {
		c.sort(start, c.members[first:])
	}
	c.members, c.names = c.members[:first], c.names[:names]
	if len(c.out) > start {
		c.out = c.out[:len(c.out)-1] // the last comma
	}
	c.out = append(c.out, '}')
	return nil
}

func (c *canonical) compare(a, b member) int {
	return bytes.Compare(c.names[a.name:a.nameEnd], c.names[b.name:b.nameEnd])
}

// sort brings the members of an object, the text from start on, into order. Of two with one name
// the later counts.
func (c *canonical) sort(start int, members []member) {
	slices.SortStableFunc(members, c.compare)
	c.moved = append(c.moved[:0], c.out[start:]...)
	c.out = c.out[:start]
	for i, m := range members {
		if i+1 < len(members) && c.compare(m, members[i+1]) == 0 {
			continue
		}
		c.out = append(c.out, c.moved[m.text-start:m.textEnd-start]...)
	}
}

// string reads a string and returns what it stands for. What is not UTF-8 becomes replacement
// characters, as it does for a client that decodes the string.
func (c *canonical) string() ([]byte, error) {
	text, err := c.literal()
	if err == nil && !utf8.Valid(text) {
		text = []byte(string([]rune(string(text))))
	}
	return text, err
}

func (c *canonical) literal() ([]byte, error) {
	if c.at == len(c.in) || c.in[c.at] != '"' {
		return nil, errNotJSON
	}
	c.at++
	start := c.at
	for ; c.at < len(c.in); c.at++ {
		switch char := c.in[c.at]; {
		case char == '"':
			c.at++
			return c.in[start : c.at-1], nil
		case char == '\\':
			return c.escaped(start)
		case char < ' ':
			return nil, errNotJSON
		}
	}
	return nil, errNotJSON
}

// escaped goes on with a string in which an escape was met.
func (c *canonical) escaped(start int) ([]byte, error) {
	text := c.text[:0]
	text = append(text, c.in[start:c.at]...)
	for c.at < len(c.in) {
		char := c.in[c.at]
		c.at++
		switch {
		case char == '"':
			c.text = text
			return text, nil
		case char < ' ':
			return nil, errNotJSON
		case char != '\\':
			text = append(text, char)
		default:
			r, err := c.escape()
			if err != nil {
				return nil, err
			}
			text = utf8.AppendRune(text, r)
		}
	}
	return nil, errNotJSON
}

// escape reads what follows a backslash. Half of a surrogate pair is the replacement character.
func (c *canonical) escape() (rune, error) {
	if c.at == len(c.in) {
		return 0, errNotJSON
	}
	char := c.in[c.at]
	c.at++
	switch char {
	case '"', '\\', '/':
		return rune(char), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		r, ok := c.hex(c.at)
		if !ok {
			return 0, errNotJSON
		}
		c.at += 4
		if !utf16.IsSurrogate(r) {
			return r, nil
		}
		if c.at+1 < len(c.in) && c.in[c.at] == '\\' && c.in[c.at+1] == 'u' {
			if low, ok := c.hex(c.at + 2); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					c.at += 6
					return pair, nil
				}
			}
		}
		return utf8.RuneError, nil
	}
	return 0, errNotJSON
}

func (c *canonical) hex(at int) (rune, bool) {
	if at+4 > len(c.in) {
		return 0, false
	}
	var r rune
	for _, char := range c.in[at : at+4] {
		r <<= 4
		switch {
		case char >= '0' && char <= '9':
			r |= rune(char - '0')
		case char >= 'a' && char <= 'f':
			r |= rune(char-'a') + 10
		case char >= 'A' && char <= 'F':
			r |= rune(char-'A') + 10
		default:
			return 0, false
		}
	}
	return r, true
}

func (c *canonical) number() error {
	start, digits := c.at, true
scan:
	for ; c.at < len(c.in); c.at++ {
		switch char := c.in[c.at]; char {
		case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		case '-', '+', '.', 'e', 'E':
			digits = false
		default:
			break scan
		}
	}
	text := c.in[start:c.at]
	if len(text) == 0 {
		return errNotJSON
	}
	// A whole number of that many digits is a float64 that prints the same.
	if digits && len(text) <= 15 {
		c.out = append(c.out, text...)
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	switch {
	case math.IsInf(f, 0):
		// No client can read it as a float64 either; the hash is at least always the same.
		c.out = append(c.out, text...)
	case err != nil:
		return errNotJSON
	default:
		c.out = appendFloat(c.out, f)
	}
	return nil
}

// appendFloat prints a number as encoding/json and ECMAScript do.
func appendFloat(out []byte, f float64) []byte {
	format := byte('f')
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	out = strconv.AppendFloat(out, f, format, -1, 64)
	// e-09 is e-9.
	if n := len(out); format == 'e' && n >= 4 && out[n-4] == 'e' && (out[n-3] == '-' || out[n-3] == '+') && out[n-2] == '0' {
		out[n-2] = out[n-1]
		out = out[:n-1]
	}
	return out
}
