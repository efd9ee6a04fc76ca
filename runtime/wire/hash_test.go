package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

// The two vectors were taken from a running server of protocol v1.
func TestBundleHashVectors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		version int64
		row     Row
		want    string
	}{
		{"html", 1, Row{
			Schema: []byte("business"), Table: []byte("users"), Op: []byte("INSERT"),
			Key:     []byte(`{"id": "be9ffa2d-e512-426b-b2fe-3a9618ce8d72"}`),
			Payload: []byte("{\"id\":\"be9ffa2d-e512-426b-b2fe-3a9618ce8d72\",\"name\":\"<b>&\\\"\u00e9\u2028\",\"email\":\"e@x\",\"updated_at\":\"2026-01-02T03:04:05+00:00\",\"created_at\":\"2026-01-02T03:04:05.123456+00:00\"}"),
		}, "25a4f1b1aab5430ed2cdf3d2b19711d7c2f5a440e90455591b10f64f70db0dce"},
		{"numbers", 2, Row{
			Schema: []byte("business"), Table: []byte("typed_rows"), Op: []byte("INSERT"),
			Key: []byte(`{"id":"1008b701-d984-403a-bcf2-325c6dcb478b"}`),
			Payload: []byte(`{"id":"1008b701-d984-403a-bcf2-325c6dcb478b","name":"x","note":null,"count_value":9007199254740993,
				"enabled_flag":1,"rating":1000000000000000000000,"data":"yv66vg==","created_at":"2026-03-24T18:42:11.123457+00:00"}`),
		}, "8923a3f12038f9dc1ea44a0d715587897f9991e0b9ae91be263a1e3d80c566bc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := NewBundleHash()
			if err := h.Add(test.row, test.version); err != nil {
				t.Fatal(err)
			}
			if got, _ := h.Finish(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// A bundle of several rows is what encoding/json makes of the list.
func TestBundleHashOfManyRows(t *testing.T) {
	t.Parallel()
	rows := []Row{
		{Schema: []byte("a"), Table: []byte("t"), Op: []byte("UPDATE"), Key: []byte(`{"b":"2","a":"1"}`), Payload: []byte(`{"z":[{"y":1,"x":-0.0},[]],"a":1e-7,"a":{"k":12345678901234567890}}`)},
		{Schema: []byte("Ä<"), Table: []byte(`"`), Op: []byte("DELETE"), Key: []byte(`{"id":"\ud83d\ude00\ud83d"}`)},
	}
	h := NewBundleHash()
	var list []any
	for i, r := range rows {
		if err := h.Add(r, 7); err != nil {
			t.Fatal(err)
		}
		var payload any
		if r.Payload != nil {
			payload = decoded(t, r.Payload)
		}
		list = append(list, map[string]any{"row_ordinal": i, "row_version": 7, "schema": string(r.Schema), "table": string(r.Table), "op": string(r.Op), "key": decoded(t, r.Key), "payload": payload})
	}
	want, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(want)
	if got, size := h.Finish(); got != hex.EncodeToString(sum[:]) || size != int64(len(want)) || h.Rows() != 2 {
		t.Errorf("got %s of %d bytes, want %x of %d", got, size, sum, len(want))
	}
}

func decoded(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// naive is the definition: through encoding/json, with every number a float64.
func naive(text []byte) ([]byte, error) {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `null`, `true`, `"x"`, ` { "b" : [ 1 , 2.50 , -0 , 1e21, 1e-7 ] , "a" : { } , "b" : 3 } `,
		`"\u0041\ud83d\ude00\ud83d\u0041\u2028\u0000\/\b<&>"`, "\"\xff\xc3\u2029\x7f\"", `{"\u0061":1,"a":2,"B":{"d":1,"c":[{"z":0,"y":0}]}}`,
		`9007199254740993`, `-1.5e-9`, `123456789012345678901234567890`, `0.000001`, `{"a":1,"\ud800":2,"\ufffd":3}`, `100000000000000000000000`, `5e-324`,
	} {
		f.Add([]byte(seed))
	}
	var c canonical
	f.Fuzz(func(t *testing.T, text []byte) {
		want, err := naive(text)
		if err != nil {
			return // what PostgreSQL stores is JSON
		}
		got, err := c.appendValue(nil, text)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: got %s (%v), want %s", text, got, err, want)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "plain", "<&>\"\\\u2028\u2029\x00\x1f\x7f\b\f\n\r\t", "\xff\xf0\x9f\x98", "\u00e9\U0001f600\ufffd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendString(nil, s); !bytes.Equal(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := AppendString(nil, []byte(s)); !bytes.Equal(got, want) {
			t.Errorf("bytes: got %s, want %s", got, want)
		}
	})
}

// Documents made at random reach depths that a fuzzer needs long for.
func TestCanonicalOfRandomDocuments(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var c canonical
	for range 20000 {
		var b strings.Builder
		randomValue(random, &b, 5)
		want, err := naive([]byte(b.String()))
		if err != nil {
			t.Fatalf("%s: %v", b.String(), err)
		}
		if got, err := c.appendValue(nil, []byte(b.String())); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: got %s (%v), want %s", b.String(), got, err, want)
		}
	}
}

func randomValue(random *rand.Rand, b *strings.Builder, depth int) {
	strs := []string{`"a"`, `"b"`, `"\u0061"`, `""`, `"\ud800"`, `"é<"`, `"aa"`, `"\n\t\\"`}
	kind := random.IntN(8)
	if depth == 0 {
		kind %= 4
	}
	switch {
	case kind < 2:
		b.WriteString([]string{"0", "-0", "1.0", "12345678901234567", "1e22", "1e-8", "-1.25e+3", "0.1", "999999999999999", "true", "null", "1E5"}[random.IntN(12)])
	case kind < 4:
		b.WriteString(strs[random.IntN(len(strs))])
	case kind < 5:
		b.WriteString(" [")
		for i := range random.IntN(4) {
			if i > 0 {
				b.WriteString(", ")
			}
			randomValue(random, b, depth-1)
		}
		b.WriteString("] ")
	default:
		b.WriteString("{ ")
		for i := range random.IntN(6) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strs[random.IntN(len(strs))] + " :")
			randomValue(random, b, depth-1)
		}
		b.WriteString("}")
	}
}

// Text that is no JSON is an error, never a panic.
func FuzzCanonicalGarbage(f *testing.F) {
	for _, seed := range []string{"", "{", `{"a"`, `{"a":`, "[1", `"\u12`, `"\ud800\u`, "nul", "-", "1 2", `{"a":1,}`, "\x00"} {
		f.Add([]byte(seed))
	}
	var c canonical
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = c.appendValue(nil, text) // either result will do
	})
}

func BenchmarkBundleHash(b *testing.B) {
	row := Row{Schema: []byte("app"), Table: []byte("task"), Op: []byte("UPDATE"), Key: []byte(`{"id":"be9ffa2d-e512-426b-b2fe-3a9618ce8d72"}`),
		Payload: []byte(`{"id":"be9ffa2d-e512-426b-b2fe-3a9618ce8d72","title":"a title of some length","done":false,"priority":3,"created_at":"2026-01-02T03:04:05.123456+00:00","note":null}`)}
	h := NewBundleHash()
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Add(row, 1); err != nil {
			b.Fatal(err)
		}
	}
}
