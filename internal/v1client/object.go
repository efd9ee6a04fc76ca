package v1client

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// object reads the fields of an answer one by one. The first field that is not as it must be is kept
// as the error; what is read afterwards does not matter.
type object struct {
	rule   string
	fields map[string]json.RawMessage
	err    error
}

func parseObject(rule string, text []byte) *object {
	o := &object{rule: rule}
	if err := json.Unmarshal(text, &o.fields); err != nil || o.fields == nil {
		o.fail("", "%s is not a JSON object", clip(text))
	}
	return o
}

func (o *object) fail(field, format string, args ...any) {
	if o.err == nil {
		rule := o.rule
		if field != "" {
			rule += "/" + field
		}
		o.err = broken(rule, format, args...)
	}
}

func (o *object) require(ok bool, field, format string, args ...any) {
	if !ok {
		o.fail(field, format, args...)
	}
}

func (o *object) has(field string) bool {
	_, ok := o.fields[field]
	return ok
}

func (o *object) raw(field string) json.RawMessage {
	value, ok := o.fields[field]
	if !ok {
		o.fail(field, "the field is missing")
	}
	return value
}

var integer = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

func (o *object) int(field string) int64 {
	text := string(o.raw(field))
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !integer.MatchString(text) {
		o.fail(field, "%s is not a JSON integer of 64 bits", clip([]byte(text)))
	}
	return n
}

func (o *object) positive(field string) int64 {
	n := o.int(field)
	o.require(n > 0, field, "%d is not above 0", n)
	return n
}

func (o *object) intOr(field string, absent int64) int64 {
	if !o.has(field) {
		return absent
	}
	return o.int(field)
}

func (o *object) bool(field string) bool {
	switch text := string(o.raw(field)); text {
	case "true":
		return true
	case "false":
		return false
	default:
		o.fail(field, "%s is neither true nor false", clip([]byte(text)))
		return false
	}
}

// text is a string that is not empty.
func (o *object) text(field string) string {
	raw := o.raw(field)
	var s string
	if json.Unmarshal(raw, &s) != nil || s == "" {
		o.fail(field, "%s is not a string with something in it", clip(raw))
	}
	return s
}

var lowerUUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (o *object) uuid(field string) string {
	s := o.text(field)
	o.require(lowerUUID.MatchString(s), field, "%q is not a uuid in lower case", s)
	return s
}

// time is RFC 3339 in UTC with Z and without trailing zeros, as Go prints it.
func (o *object) time(field string) time.Time {
	s := o.text(field)
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || at.UTC().Format(time.RFC3339Nano) != s {
		o.fail(field, "%q is not a UTC time with Z and trimmed fraction", s)
	}
	return at
}

func (o *object) list(field string) []json.RawMessage {
	raw := o.raw(field)
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || list == nil {
		o.fail(field, "%s is not a list", clip(raw))
	}
	return list
}

func clip(text []byte) string {
	text = bytes.TrimSpace(text)
	if len(text) > 200 {
		return string(text[:200]) + "…"
	}
	return string(text)
}

// Canonical is a JSON text with its keys sorted and no spaces; numbers stay as they were written.
func Canonical(text string) (string, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return "", err
	}
	canonical, err := json.Marshal(value)
	return string(canonical), err
}
