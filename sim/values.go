package sim

import (
	"fmt"
	"strings"
)

// The world is small, so that actors meet: ten keys a table, few titles, and values that get changed
// on the way in systems that are not careful.
const keys = 10

func docKey(n int) string { return fmt.Sprintf("d%d", n%keys) }

func noteKey(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n%keys) }

func title(n int) any {
	if n%3 > 0 {
		return nil
	}
	return []string{"one", "two", "Three", "four\u00a0five", ""}[n/3%5]
}

var bodies = []string{
	"plain", "", " ", `quote " and '`, `back \ slash \u0041`, "<b>&amp;</b>", "line\nbreak\ttab", "\u2028\u2029", "é e\u0301 ß 漢字", "👩‍👩‍👧", "\u202eright to left",
	"\x01\x1f\x7f", "NULL", "{}", "$1 %s ${x}", "--; DROP TABLE app.doc", strings.Repeat("long ", 4000),
}

func odd(n int) string { return bodies[n%len(bodies)] }

// clocks are what devices take for the time, years apart.
var clocks = []any{nil, "1999-12-31T23:59:59.999999+00:00", "2026-02-28T12:00:00+00:00", "2038-01-19T03:14:08.5+00:00"}

var (
	amounts = []string{"null", "0.0000000000", "1.5000000000", "12345678901234567890.0123456789", "-0.0000000001"}
	bigs    = []string{"null", "0", "9007199254740993", "-9223372036854775808", "9223372036854775807"}
	extras  = []string{"null", "{}", `{"b":[1,1.50,null,{"a":"x"}],"aa":true}`, `"text"`, `[]`, `1.10`}
)
