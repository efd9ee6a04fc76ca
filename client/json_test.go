package client

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"
)

// What is walked through is read as others read it, and refused where they refuse it.
func TestJSONText(t *testing.T) {
	t.Parallel()
	check := func(t interface {
		Fatalf(string, ...any)
	}, text string) {
		v, end, err := jsonText(text).value(0)
		if err == nil {
			err = jsonText(text).whole(end)
		}
		if (err == nil) != gjson.Valid(text) {
			t.Fatalf("%q: %v, and gjson says %v", text, err, gjson.Valid(text))
		}
		if want := gjson.Parse(text); err == nil && (v.Type != want.Type || v.Str != want.Str || v.Raw != strings.Trim(text, " \t\r\n")) {
			t.Fatalf("%q: %#v, and gjson says %#v", text, v, want)
		}
	}
	for _, text := range []string{
		``, ` `, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{"a" 1}`, `[`, `[1`, `[1,`, `[1,]`, `[,]`, `[1 2]`, `[]`, `{}`, ` [ ] `, `{ }`,
		`{"a":[{"b":null}],"c":{}}`, `[true,false,null]`, `tru`, `nul`, `1 2`, `{} x`, `-`, `-1`, `01`, `1.`, `.5`, `1.5e`, `1.5e+3`, `1E-2`, `+1`, `0.10`,
		`"`, `"a`, `"\`, `"\"`, `"\\"`, `"\n\u00e9"`, `"\u12"`, `"\x"`, "\"a\nb\"", `"é"`, "\"\xff\"", `"\ud83d\ude00"`, `x`,
	} {
		check(t, text)
	}
	piece := rapid.SampledFrom(strings.Split(`{ } [ ] , : " \ a 0 1 - . e true false null "a" "b\n" "\u0041"`, " "))
	rapid.Check(t, func(t *rapid.T) {
		check(t, strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), rapid.SampledFrom([]string{"", " "}).Draw(t, "between")))
		value, err := json.Marshal(rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.String())).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		check(t, string(value))
	})
}
