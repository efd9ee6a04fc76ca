package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

var (
	rsaKey, _   = rsa.GenerateKey(rand.Reader, 2048)
	otherRSA, _ = rsa.GenerateKey(rand.Reader, 2048)
	p256, _     = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _     = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, edKey, _ = ed25519.GenerateKey(rand.Reader)
	someone     = jwt.MapClaims{"sub": "42"}
)

func publicPEM(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	text, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: text})
}

// A key takes the algorithms of its kind, and nothing else: not one that a token claims.
func TestAlgorithmsArePinnedByTheKey(t *testing.T) {
	t.Parallel()
	long := []byte(strings.Repeat("l", 64))
	signed := map[string]string{
		"HS256 short": sign(t, jwt.SigningMethodHS256, secret, someone), "HS512 short": sign(t, jwt.SigningMethodHS512, secret, someone),
		"HS512 long": sign(t, jwt.SigningMethodHS512, long, someone),
		"RS256":      sign(t, jwt.SigningMethodRS256, rsaKey, someone), "RS512": sign(t, jwt.SigningMethodRS512, rsaKey, someone), "PS256": sign(t, jwt.SigningMethodPS256, rsaKey, someone),
		"RS256 other": sign(t, jwt.SigningMethodRS256, otherRSA, someone),
		"ES256":       sign(t, jwt.SigningMethodES256, p256, someone), "ES384": sign(t, jwt.SigningMethodES384, p384, someone),
		"EdDSA": sign(t, jwt.SigningMethodEdDSA, edKey, someone),
		"none":  sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, someone),
		// The classic one: the public key, which everybody has, as the secret.
		"HS256 of the RSA key": sign(t, jwt.SigningMethodHS256, publicPEM(t, rsaKey.Public()), someone),
		"HS256 of its DER":     sign(t, jwt.SigningMethodHS256, x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), someone),
		"HS256 of the EC key":  sign(t, jwt.SigningMethodHS256, publicPEM(t, p256.Public()), someone),
		"HS256 of the Ed key":  sign(t, jwt.SigningMethodHS256, []byte(edKey.Public().(ed25519.PublicKey)), someone),
	}
	for name, test := range map[string]struct {
		config Config
		right  []string
	}{
		"secret":      {Config{Secret: secret}, []string{"HS256 short"}},
		"long secret": {Config{Secret: long}, []string{"HS512 long"}},
		"RSA":         {Config{Key: rsaKey.Public()}, []string{"RS256", "RS512", "PS256"}},
		"P-256":       {Config{Key: p256.Public()}, []string{"ES256"}},
		"P-384":       {Config{Key: p384.Public()}, []string{"ES384"}},
		"Ed25519":     {Config{Key: edKey.Public()}, []string{"EdDSA"}},
		"JWKS":        {Config{JWKSURL: publish(t, jwk(t, "", rsaKey.Public()), jwk(t, "", p384.Public()), jwk(t, "", edKey.Public()), jwk(t, "", secret)).url}, []string{"RS256", "RS512", "PS256", "ES384", "EdDSA"}},
	} {
		middleware := with(t, test.config)
		accepted := 0
		for token, text := range signed {
			if _, ok, _ := seen(middleware, "Bearer "+text); ok {
				accepted++
				if !strings.Contains("|"+strings.Join(test.right, "|")+"|", "|"+token+"|") {
					t.Errorf("%s believes %s", name, token)
				}
			}
		}
		if accepted != len(test.right) {
			t.Errorf("%s believes %d tokens, not %v", name, accepted, test.right)
		}
	}
}

func TestKeysInPEM(t *testing.T) {
	t.Parallel()
	for _, key := range []crypto.Signer{rsaKey, p256, edKey} {
		got, err := ParseKey(publicPEM(t, key.Public()))
		if err != nil || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(got) {
			t.Errorf("%T: %v", key, err)
		}
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)})
	if got, err := ParseKey(pkcs1); err != nil || !rsaKey.PublicKey.Equal(got) {
		t.Errorf("PKCS 1: %v", err)
	}
	template := &x509.Certificate{SerialNumber: rsaKey.N}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, p256.Public(), p256)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})); err != nil || !p256.PublicKey.Equal(got) {
		t.Errorf("certificate: %v", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	weak := &rsa.PublicKey{N: new(big.Int).Sqrt(rsaKey.N), E: 65537}
	for want, text := range map[string]string{
		"not in PEM":    "ssh-rsa AAAA",
		"a private key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		"read the":      string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})),
		"2048":          string(publicPEM(t, weak)),
	} {
		if _, err := ParseKey([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// What cannot be meant stops at once, and says why.
func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	for want, config := range map[string]Config{
		"0 ways":        {},
		"2 ways":        {Secret: secret, JWKSURL: "https://issuer/keys"},
		"at least 32":   {Secret: []byte("short")},
		"type *rsa.Pri": {Key: rsaKey},
		"is not https":  {JWKSURL: "http://issuer.example/keys"},
		"is none":       {JWKSURL: "issuer.example"},
		"fetch":         {JWKSURL: "http://127.0.0.1:1/keys"},
	} {
		if _, err := Tokens(t.Context(), config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
