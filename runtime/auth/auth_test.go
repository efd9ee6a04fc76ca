package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var secret = []byte(strings.Repeat("s", MinSecretBytes))

func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.Claims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// seen is what a handler behind the middleware learns.
func seen(middleware func(http.Handler) http.Handler, headers ...string) (identity Identity, ok bool, refused Refused) {
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Header["Authorization"] = headers
	return seenOf(middleware, request)
}

func seenOf(middleware func(http.Handler) http.Handler, request *http.Request) (identity Identity, ok bool, refused Refused) {
	handler := middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		identity, ok = FromContext(r.Context())
		refused = Refusal(r.Context())
	}))
	handler.ServeHTTP(httptest.NewRecorder(), request)
	return identity, ok, refused
}

func with(t testing.TB, config Config) func(http.Handler) http.Handler {
	t.Helper()
	middleware, err := Tokens(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return middleware
}

// An identity has the claims as they were signed, and ends when the token does.
func TestValidToken(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	header := "bearer  " + sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "42", "n": json.RawMessage("9007199254740993"), "exp": end.Unix()})
	identity, ok, _ := seen(with(t, Config{Secret: secret, Leeway: time.Minute}), header)
	if !ok || identity.UserID != "42" || !strings.Contains(string(identity.Claims), `"n":9007199254740993`) || !identity.ExpiresAt.Equal(end.Add(time.Minute)) {
		t.Errorf("got %q %s until %s, %v", identity.UserID, identity.Claims, identity.ExpiresAt, ok)
	}
	identity, ok, _ = seen(Bearer(secret), "Bearer "+sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "42"}))
	if !ok || !identity.ExpiresAt.IsZero() {
		t.Errorf("a token without end: %v until %s", ok, identity.ExpiresAt)
	}
}

func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	user := jwt.MapClaims{"sub": "42"}
	signed := func(claims jwt.MapClaims) string { return "Bearer " + sign(t, jwt.SigningMethodHS256, secret, claims) }
	for name, header := range map[string]string{
		"none":           "",
		"basic":          "Basic eDp5",
		"empty":          "Bearer ",
		"garbage":        "Bearer a.b.c",
		"another secret": "Bearer " + sign(t, jwt.SigningMethodHS256, []byte("another"), user),
		"method":         "Bearer " + sign(t, jwt.SigningMethodHS512, secret, user),
		"unsigned":       "Bearer " + sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, user),
		"unsigned, NoNe": "Bearer eyJhbGciOiJOb05lIn0.eyJzdWIiOiI0MiJ9.",
		"padded":         signed(user) + "=",
		"expired":        signed(jwt.MapClaims{"sub": "42", "exp": time.Now().Add(-time.Minute).Unix()}),
		"end is a text":  signed(jwt.MapClaims{"sub": "42", "exp": "tomorrow"}),
		"end is huge":    signed(jwt.MapClaims{"sub": "42", "exp": json.RawMessage("-1e300")}),
		"not yet":        signed(jwt.MapClaims{"sub": "42", "nbf": time.Now().Add(time.Hour).Unix()}),
		"issued later":   signed(jwt.MapClaims{"sub": "42", "iat": time.Now().Add(time.Hour).Unix()}),
		"invalid UTF-8":  signed(jwt.MapClaims{"sub": "42", "name": json.RawMessage("\"\xff\"")}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if identity, ok, refused := seen(Bearer(secret), header); ok || refused.Reason == "" || refused.Passing {
				t.Errorf("got %v, refused: %+v", identity, refused)
			}
		})
	}
	if _, ok, refused := seen(Bearer(secret), signed(user), signed(user)); ok || refused != errNoToken {
		t.Errorf("two tokens: refused %+v", refused)
	}
}

// A user is a text or a whole number with all its digits.
func TestUserClaims(t *testing.T) {
	t.Parallel()
	middleware := with(t, Config{Secret: secret, UserClaim: "uid"})
	for claim, want := range map[string]string{
		`"42"`: "42", `42`: "42", `-7`: "-7", `0`: "0", `9007199254740993`: "9007199254740993", `"é🙂"`: "é🙂", `123456789012345678901234567890`: "123456789012345678901234567890",
		`42.0`: "", `4.2e1`: "", `1e3`: "", `-0`: "", `""`: "", `null`: "", `true`: "", `["42"]`: "", `{"id":"42"}`: "", `"a\u0000"`: "",
		`"` + strings.Repeat("x", 500) + `"`: strings.Repeat("x", 500), `"` + strings.Repeat("x", 501) + `"`: "",
	} {
		header := "Bearer " + sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "somebody else", "UID": "nobody", "uid": json.RawMessage(claim)})
		identity, ok, refused := seen(middleware, header)
		if identity.UserID != want || ok != (want != "") || (!ok && !strings.Contains(refused.Reason, "uid")) {
			t.Errorf("%.40s: user %q, refused %q", claim, identity.UserID, refused.Reason)
		}
	}
}

// Issuer, audience and leeway count only when they are set.
func TestIssuerAudienceLeeway(t *testing.T) {
	t.Parallel()
	config := Config{Secret: secret, Issuer: "https://issuer", Audience: []string{"app", "admin"}, Leeway: time.Minute}
	late, early := time.Now().Add(-30*time.Second).Unix(), time.Now().Add(30*time.Second).Unix()
	for name, test := range map[string]struct {
		claims jwt.MapClaims
		want   Refused
	}{
		"right":            {jwt.MapClaims{"sub": "1", "iss": "https://issuer", "aud": "admin"}, Refused{}},
		"one of several":   {jwt.MapClaims{"sub": "1", "iss": "https://issuer", "aud": []string{"other", "app"}}, Refused{}},
		"within leeway":    {jwt.MapClaims{"sub": "1", "iss": "https://issuer", "aud": "app", "exp": late, "nbf": early, "iat": early}, Refused{}},
		"other issuer":     {jwt.MapClaims{"sub": "1", "iss": "https://issuer/", "aud": "app"}, errNotForHere},
		"no issuer":        {jwt.MapClaims{"sub": "1", "aud": "app"}, errNotForHere},
		"other audience":   {jwt.MapClaims{"sub": "1", "iss": "https://issuer", "aud": []string{"ap", "apps"}}, errNotForHere},
		"no audience":      {jwt.MapClaims{"sub": "1", "iss": "https://issuer"}, errNotForHere},
		"beyond leeway":    {jwt.MapClaims{"sub": "1", "iss": "https://issuer", "aud": "app", "exp": late - 60}, errExpired},
		"audience of none": {jwt.MapClaims{"sub": "1", "iss": "https://issuer", "aud": 7}, errNotForHere},
	} {
		identity, ok, refused := seen(with(t, config), "Bearer "+sign(t, jwt.SigningMethodHS256, secret, test.claims))
		if ok != (test.want == Refused{}) || (!ok && refused != test.want) {
			t.Errorf("%s: %v, refused %+v", name, identity, refused)
		}
	}
}

func TestIdentityOfAnotherMiddleware(t *testing.T) {
	t.Parallel()
	if _, ok := FromContext(WithIdentity(context.Background(), Identity{})); ok {
		t.Error("an identity without a user is one")
	}
	if identity, ok := FromContext(WithIdentity(context.Background(), Identity{UserID: "7"})); !ok || identity.UserID != "7" {
		t.Errorf("got %v %v", identity, ok)
	}
}

// Whatever is sent, nobody becomes a user without the secret.
func FuzzBearer(f *testing.F) {
	f.Add("Bearer a.b.c")
	f.Add("Bearer " + sign(f, jwt.SigningMethodHS256, []byte("another"), jwt.MapClaims{"sub": "42"}))
	f.Add("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiJ9.")
	f.Fuzz(func(t *testing.T, header string) {
		if identity, ok, _ := seen(Bearer(secret), header); ok {
			t.Errorf("%q made %v a user", header, identity)
		}
	})
}
