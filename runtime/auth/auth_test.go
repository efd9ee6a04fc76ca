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
func seen(header string) (identity Identity, ok bool, refusal string) {
	handler := Bearer(secret)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		identity, ok = FromContext(r.Context())
		refusal = Refusal(r.Context())
	}))
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	if header != "" {
		request.Header.Set("Authorization", header)
	}
	handler.ServeHTTP(httptest.NewRecorder(), request)
	return identity, ok, refusal
}

func TestValidToken(t *testing.T) {
	t.Parallel()
	header := "bearer  " + sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "42", "n": json.RawMessage("9007199254740993"), "exp": time.Now().Add(time.Hour).Unix()})
	identity, ok, _ := seen(header)
	if !ok || identity.UserID != "42" || !strings.Contains(string(identity.Claims), `"n":9007199254740993`) {
		t.Errorf("got %q %s %v", identity.UserID, identity.Claims, ok)
	}
}

func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	user := jwt.MapClaims{"sub": "42"}
	for name, header := range map[string]string{
		"none":        "",
		"basic":       "Basic eDp5",
		"empty":       "Bearer ",
		"garbage":     "Bearer a.b.c",
		"secret":      "Bearer " + sign(t, jwt.SigningMethodHS256, []byte("another"), user),
		"method":      "Bearer " + sign(t, jwt.SigningMethodHS512, secret, user),
		"unsigned":    "Bearer " + sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, user),
		"expired":     "Bearer " + sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "42", "exp": time.Now().Add(-time.Minute).Unix()}),
		"not yet":     "Bearer " + sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "42", "nbf": time.Now().Add(time.Hour).Unix()}),
		"no user":     "Bearer " + sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"name": "x"}),
		"user number": "Bearer " + sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": 42}),
		"zero byte":   "Bearer " + sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "a\x00"}),
		"long user":   "Bearer " + sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": strings.Repeat("x", 501)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if identity, ok, refusal := seen(header); ok || refusal == "" {
				t.Errorf("got %v, refused because %q", identity, refusal)
			}
		})
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
		if identity, ok, _ := seen(header); ok {
			t.Errorf("%q made %v a user", header, identity)
		}
	})
}
