package client

import (
	"fmt"
	"io"
	"strings"

	"github.com/tidwall/gjson"
)

// jsonText is walked through once, and checked on the way: a snapshot is hundreds of megabytes. Whoever is
// called for a value returns where it ends.
type jsonText string

// whole says that nothing but white space follows.
func (s jsonText) whole(at int) error {
	if at = s.space(at); at < len(s) {
		return s.wrong(at)
	}
	return nil
}

func (s jsonText) wrong(at int) error {
	if at >= len(s) {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("no JSON: %.50q", string(s[at:]))
}

func (s jsonText) space(at int) int {
	for at < len(s) && (s[at] == ' ' || s[at] == '\n' || s[at] == '\t' || s[at] == '\r') {
		at++
	}
	return at
}

func (s jsonText) is(at int, c byte) bool { return at < len(s) && s[at] == c }

// object calls member at the value of each.
func (s jsonText) object(at int, member func(name string, at int) (int, error)) (int, error) {
	return s.list(at, '{', '}', func(at int) (int, error) {
		name, at, err := s.text(at)
		if err != nil {
			return at, err
		}
		if at = s.space(at); !s.is(at, ':') {
			return at, s.wrong(at)
		}
		return member(name, s.space(at+1))
	})
}

// array calls element at each.
func (s jsonText) array(at int, element func(at int) (int, error)) (int, error) {
	return s.list(at, '[', ']', element)
}

func (s jsonText) list(at int, begin, end byte, one func(at int) (int, error)) (int, error) {
	if at = s.space(at); !s.is(at, begin) {
		return at, s.wrong(at)
	}
	if at = s.space(at + 1); s.is(at, end) {
		return at + 1, nil
	}
	for {
		next, err := one(at)
		if err != nil {
			return next, err
		}
		switch at = s.space(next); {
		case s.is(at, end):
			return at + 1, nil
		case !s.is(at, ','):
			return at, s.wrong(at)
		}
		at = s.space(at + 1)
	}
}

// value reads one. Of a number only Raw is set, as it may have more digits than a float64, and so of lists.
func (s jsonText) value(at int) (v gjson.Result, end int, err error) {
	begin := s.space(at)
	if begin >= len(s) {
		return v, begin, s.wrong(begin)
	}
	switch s[begin] {
	case '"':
		v.Type = gjson.String
		v.Str, end, err = s.text(begin)
	case '{':
		v.Type = gjson.JSON
		end, err = s.object(begin, func(_ string, at int) (int, error) { return s.skip(at) })
	case '[':
		v.Type = gjson.JSON
		end, err = s.array(begin, s.skip)
	case 't':
		v.Type = gjson.True
		end, err = s.word(begin, "true")
	case 'f':
		v.Type = gjson.False
		end, err = s.word(begin, "false")
	case 'n':
		v.Type = gjson.Null
		end, err = s.word(begin, "null")
	default:
		v.Type = gjson.Number
		end, err = s.number(begin)
	}
	if err == nil {
		v.Raw = string(s[begin:end])
	}
	return v, end, err
}

func (s jsonText) skip(at int) (int, error) {
	_, end, err := s.value(at)
	return end, err
}

func (s jsonText) word(at int, word string) (int, error) {
	if !strings.HasPrefix(string(s[at:]), word) {
		return at, s.wrong(at)
	}
	return at + len(word), nil
}

func (s jsonText) number(begin int) (int, error) {
	at := begin
	digits := func() bool {
		first := at
		for at < len(s) && '0' <= s[at] && s[at] <= '9' {
			at++
		}
		return at > first
	}
	if s.is(at, '-') {
		at++
	}
	if s.is(at, '0') {
		at++
	} else if !digits() {
		return begin, s.wrong(begin)
	}
	if s.is(at, '.') {
		if at++; !digits() {
			return begin, s.wrong(begin)
		}
	}
	if s.is(at, 'e') || s.is(at, 'E') {
		if at++; s.is(at, '+') || s.is(at, '-') {
			at++
		}
		if !digits() {
			return begin, s.wrong(begin)
		}
	}
	return at, nil
}

// text is a string. Few have anything escaped: those are parts of the whole.
func (s jsonText) text(at int) (string, int, error) {
	if !s.is(at, '"') {
		return "", at, s.wrong(at)
	}
	escaped := false
	for end := at + 1; end < len(s); end++ {
		switch c := s[end]; {
		case c == '"' && !escaped:
			return string(s[at+1 : end]), end + 1, nil
		case c == '"':
			raw := string(s[at : end+1])
			if !gjson.Valid(raw) {
				return "", at, s.wrong(at)
			}
			return gjson.Parse(raw).Str, end + 1, nil
		case c == '\\':
			escaped = true
			end++
		case c < ' ':
			return "", at, s.wrong(end)
		}
	}
	return "", at, s.wrong(len(s))
}
