package v1client

import (
	"encoding/json"
	"math/big"
	"time"
)

// sameAsSent holds the rows of a push that the server says it took before against those that were
// sent: were they others, the number of the push would stand for two bundles.
func sameAsSent(sent []*edit, rows []Row) error {
	if len(sent) != len(rows) {
		return broken("already_committed/rows", "%d rows were sent, the server committed %d", len(sent), len(rows))
	}
	byID := map[string]*edit{}
	for _, e := range sent {
		byID[e.id()] = e
	}
	for _, row := range rows {
		e, ok := byID[row.Table+"\x00"+row.key]
		switch {
		case !ok:
			return broken("already_committed/rows", "row %q of %q was not sent", row.key, row.Table)
		case e.op != row.Op:
			return broken("already_committed/rows", "row %q of %q was sent as %s and committed as %s", row.key, row.Table, e.op, row.Op)
		case e.op != Delete && !samePayload(e.payload, string(row.Payload)):
			return broken("already_committed/rows", "row %q of %q was sent as %s and committed as %s", row.key, row.Table, e.payload, row.Payload)
		}
	}
	return nil
}

func samePayload(a, b string) bool {
	var left, right map[string]json.RawMessage
	if json.Unmarshal([]byte(a), &left) != nil || json.Unmarshal([]byte(b), &right) != nil || len(left) != len(right) {
		return false
	}
	for column, value := range left {
		other, ok := right[column]
		if !ok || !sameValue(string(value), string(other)) {
			return false
		}
	}
	return true
}

// sameValue knows two ways to write one value: times by their instant and numbers by their worth.
func sameValue(a, b string) bool {
	left, errLeft := Canonical(a)
	right, errRight := Canonical(b)
	if errLeft != nil || errRight != nil {
		return false
	}
	if left == right {
		return true
	}
	if x, ok := new(big.Rat).SetString(left); ok {
		y, ok := new(big.Rat).SetString(right)
		return ok && x.Cmp(y) == 0
	}
	var s, t string
	if json.Unmarshal([]byte(left), &s) != nil || json.Unmarshal([]byte(right), &t) != nil {
		return false
	}
	x, errX := time.Parse(time.RFC3339Nano, s)
	y, errY := time.Parse(time.RFC3339Nano, t)
	return errX == nil && errY == nil && x.Equal(y)
}
