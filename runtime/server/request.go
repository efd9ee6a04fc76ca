package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgtide/pgtide/runtime/wire"
)

// decode reads the body of a request. Names it does not know are ignored, unless strict.
func (c *call) decode(into any, code wire.Code, strict bool) error {
	text, err := c.text()
	if err != nil {
		return err
	}
	if strict && len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if strict {
		decoder.DisallowUnknownFields()
	}
	if err = decoder.Decode(into); err == nil {
		if _, err = decoder.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("something follows the object")
	}
	return &wire.Error{Code: code, Message: "the body cannot be read: " + complaint(err) + ". Send the JSON object of this route.", Cause: err}
}

// complaint says what is wrong without the names of Go types.
func complaint(err error) string {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong):
		if wrong.Field == "" {
			return "it is a JSON " + wrong.Value
		}
		return wrong.Field + " cannot be a JSON " + wrong.Value
	case errors.As(err, &syntax):
		return "it is not JSON (" + syntax.Error() + ")"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	return err.Error()
}

// wireRows keeps rows as they were sent, for the database to read.
type wireRows string

// UnmarshalJSON implements json.Unmarshaler.
func (r *wireRows) UnmarshalJSON(text []byte) error {
	*r = wireRows(text)
	return nil
}

// number reads a whole number of the query, at least low.
func (c *call) number(name string, standard, low int64, code wire.Code) (int64, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return 0, &wire.Error{Code: code, Message: "the query of the URL cannot be read. Escape what is no name or number.", Cause: err}
	}
	text := values.Get(name)
	if text == "" {
		return standard, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low {
		return 0, &wire.Error{Code: code, Message: name + " must be a whole number from " + strconv.FormatInt(low, 10) + " on.", Cause: err}
	}
	return n, nil
}

// uuid reads an id strictly: what is accepted names the same thing in logs, URLs and tables.
func uuid(text string) (id pgtype.UUID, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	return id, id.Scan(text) == nil
}

// initialization reads an initialization_id. A malformed one is one that was never given out.
func initialization(text string) pgtype.UUID {
	if text == "" {
		return pgtype.UUID{}
	}
	id, ok := uuid(text)
	if !ok {
		id = pgtype.UUID{}
	}
	id.Valid = true
	return id
}

// bundleUUID reads what a device calls its push, if it does.
func bundleUUID(text string) (pgtype.UUID, error) {
	id, ok := uuid(text)
	if !ok && text != "" {
		return id, wire.Refuse(wire.InvalidRequest, "bundle_uuid is no UUID with dashes. Send one, or leave it out.")
	}
	return id, nil
}

func (c *call) claims() pgtype.Text {
	return optional(c.user.Claims)
}
