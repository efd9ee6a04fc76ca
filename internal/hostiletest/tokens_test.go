package hostiletest

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pgtide/pgtide/runtime/server"
)

// Nobody becomes a user without a token that the server's key has signed, on any route of devices.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		text, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	b64 := base64.RawURLEncoding.EncodeToString
	good := sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "ann"})
	parts := strings.Split(good, ".")
	forged := map[string][]string{
		"no header":             {},
		"empty":                 {""},
		"no scheme":             {good},
		"another scheme":        {"Basic " + good},
		"two headers":           {"Bearer " + good, "Bearer " + good},
		"two tokens":            {"Bearer " + good + ", Bearer " + good},
		"alg none":              {"Bearer " + sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"sub": "ann"})},
		"alg nOnE":              {"Bearer " + b64([]byte(`{"alg":"nOnE"}`)) + "." + parts[1] + "."},
		"alg is missing":        {"Bearer " + b64([]byte(`{}`)) + "." + parts[1] + "." + parts[2]},
		"alg is a number":       {"Bearer " + b64([]byte(`{"alg":256}`)) + "." + parts[1] + "." + parts[2]},
		"alg of another key":    {"Bearer " + b64([]byte(`{"alg":"RS256"}`)) + "." + parts[1] + "." + parts[2]},
		"alg of an own key":     {"Bearer " + b64([]byte(`{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"},"kid":"../../dev/null"}`)) + "." + parts[1] + "." + parts[2]},
		"no signature":          {"Bearer " + parts[0] + "." + parts[1] + "."},
		"signature of another":  {"Bearer " + parts[0] + "." + b64([]byte(`{"sub":"ben"}`)) + "." + parts[2]},
		"signature cut":         {"Bearer " + good[:len(good)-2]},
		"signature with more":   {"Bearer " + good + "AA"},
		"another secret":        {"Bearer " + sign(jwt.SigningMethodHS256, []byte("another secret of thirty-two bytes!"), jwt.MapClaims{"sub": "ann"})},
		"a stronger method":     {"Bearer " + sign(jwt.SigningMethodHS512, secret, jwt.MapClaims{"sub": "ann"})},
		"expired":               {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(-time.Second).Unix()})},
		"expired long ago":      {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "ann", "exp": -1})},
		"end of another type":   {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "ann", "exp": []int{1}})},
		"not yet":               {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "ann", "nbf": time.Now().Add(time.Hour).Unix()})},
		"no user":               {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{})},
		"user is null":          {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": nil})},
		"user is a list":        {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": []string{"ann"}})},
		"user is a fraction":    {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": 1.5})},
		"user has a zero byte":  {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "ann\x00"})},
		"user is very long":     {"Bearer " + sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": strings.Repeat("a", 501)})},
		"claims are a list":     {"Bearer " + parts[0] + "." + b64([]byte(`["ann"]`)) + "." + parts[2]},
		"a dozen dots":          {"Bearer " + strings.Repeat(".", 12)},
		"padding":               {"Bearer " + good + "=="},
		"a very long signature": {"Bearer " + parts[0] + "." + parts[1] + "." + strings.Repeat("A", 30000)},
	}
	before := s.state(t)
	for name, headers := range forged {
		for _, o := range operations(t, "device") {
			request, err := http.NewRequestWithContext(t.Context(), o.Method, s.web.URL+begun{}.path(o, "x"), strings.NewReader(begun{}.body(t, o)))
			if err != nil {
				t.Fatal(err)
			}
			request.Header["Authorization"], request.Header["Tide-Source-Id"] = headers, []string{"phone"}
			got := s.send(t, request)
			got.is(t, http.StatusUnauthorized, "authentication_failed")
			if got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s on %s %s: %d %v", name, o.Method, o.Path, got.status, got.header)
			}
		}
	}
	if after := s.state(t); after != before {
		t.Errorf("something was changed: %s, %s", before, after)
	}
}

// Claims with which a policy could be confused reach the SQL as text, or are refused.
func TestClaimsThatNoPolicyExpects(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Config{})
	for i, claims := range []jwt.MapClaims{
		{"sub": "ann", "role": "postgres'; DROP TABLE app.thing; --"},
		{"sub": "ann", "x": "\x00"}, {"sub": "ann", "x": "\ufffd\u2028"}, {"sub": "ann", "app.user_id": "ben"},
		{"sub": "ann", "deep": strings.Repeat("x", 20000)},
	} {
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.web.URL+"/sync/push", strings.NewReader(push(1, thing(`"c`+string(rune('0'+i))+`"`, ``))))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+text)
		request.Header.Set("Tide-Source-ID", "claims "+string(rune('0'+i)))
		s.send(t, request).blames(t, string(rune('0'+i)))
	}
	var foreign int
	if err := s.db.QueryRow(t.Context(), `SELECT count(*) FROM app.thing WHERE owner <> 'ann'`).Scan(&foreign); err != nil || foreign > 0 {
		t.Errorf("%d rows of others, %v", foreign, err)
	}
}
