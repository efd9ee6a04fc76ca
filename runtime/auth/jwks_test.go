package auth

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// issuer publishes keys.
type issuer struct {
	url     string
	keys    atomic.Value // []jwkset.JWKMarshal
	failing atomic.Bool
	asked   atomic.Int64
}

func publish(t testing.TB, keys ...jwkset.JWKMarshal) *issuer {
	t.Helper()
	i := &issuer{}
	i.keys.Store(keys)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.asked.Add(1)
		if i.failing.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if err := json.NewEncoder(w).Encode(jwkset.JWKSMarshal{Keys: i.keys.Load().([]jwkset.JWKMarshal)}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(web.Close)
	i.url = web.URL
	return i
}

func jwk(t testing.TB, id string, key any) jwkset.JWKMarshal {
	t.Helper()
	made, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Marshal: jwkset.JWKMarshalOptions{Private: true}, Metadata: jwkset.JWKMetadataOptions{KID: id}})
	if err != nil {
		t.Fatal(err)
	}
	return made.Marshal()
}

func signAs(t testing.TB, id string, method jwt.SigningMethod, key any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, someone)
	token.Header["kid"] = id
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + text
}

// An issuer changes its keys: the new one is fetched when it is met, the old one is forgotten, and
// forged names of keys do not have them fetched again and again.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	i := publish(t, jwk(t, "old", rsaKey.Public()))
	middleware := with(t, Config{JWKSURL: i.url})
	old, fresh := signAs(t, "old", jwt.SigningMethodRS256, rsaKey), signAs(t, "new", jwt.SigningMethodES256, p256)
	for range 3 {
		if _, ok, _ := seen(middleware, old); !ok {
			t.Fatal("the first key is not known")
		}
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	i.keys.Store([]jwkset.JWKMarshal{jwk(t, "new", p256.Public())})
	if _, ok, refused := seen(middleware, fresh); !ok {
		t.Errorf("the new key: %+v", refused)
	}
	for range 3 {
		if _, ok, refused := seen(middleware, old); ok || refused != errNotValid {
			t.Errorf("the key that was taken back: %v, %+v", ok, refused)
		}
	}
	if n := i.asked.Load(); n > 3 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// A token names a key and an algorithm of another kind.
func TestKeysByName(t *testing.T) {
	t.Parallel()
	i := publish(t, jwk(t, "rsa", rsaKey.Public()), jwk(t, "ec", p256.Public()), jwk(t, "secret", secret))
	middleware := with(t, Config{JWKSURL: i.url})
	for name, header := range map[string]string{
		"another's name":        signAs(t, "ec", jwt.SigningMethodRS256, rsaKey),
		"a published secret":    signAs(t, "secret", jwt.SigningMethodHS256, secret),
		"the RSA key as secret": signAs(t, "rsa", jwt.SigningMethodHS256, publicPEM(t, rsaKey.Public())),
		"another's key":         signAs(t, "rsa", jwt.SigningMethodRS256, otherRSA),
		"unsigned":              signAs(t, "rsa", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
	} {
		if _, ok, refused := seen(middleware, header); ok || refused != errNotValid {
			t.Errorf("%s: %v, %+v", name, ok, refused)
		}
	}
	if _, ok, refused := seen(middleware, signAs(t, "ec", jwt.SigningMethodES256, p256)); !ok {
		t.Errorf("the right one: %+v", refused)
	}
}

// While the issuer is away its known keys are good, and of others nobody can say: that is no 401.
func TestIssuerIsAway(t *testing.T) {
	t.Parallel()
	i := publish(t, jwk(t, "known", rsaKey.Public()))
	middleware := with(t, Config{JWKSURL: i.url})
	i.failing.Store(true)
	for range 2 {
		if _, ok, refused := seen(middleware, signAs(t, "unknown", jwt.SigningMethodRS256, otherRSA)); ok || refused != errNoKeys {
			t.Errorf("an unknown key: %v, %+v", ok, refused)
		}
		if _, ok, refused := seen(middleware, signAs(t, "known", jwt.SigningMethodRS256, rsaKey)); !ok {
			t.Errorf("a known key: %+v", refused)
		}
		if _, ok, refused := seen(middleware, signAs(t, "known", jwt.SigningMethodRS256, otherRSA)); ok || refused != errNotValid {
			t.Errorf("a forged one: %v, %+v", ok, refused)
		}
	}
}
