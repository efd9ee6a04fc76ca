package auth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// MinSecretBytes is the shortest secret worth the name: HS256 is no stronger than its key (RFC 7518).
const MinSecretBytes = 32

// maxUserBytes is what a home bucket has room for.
const maxUserBytes = 500

// Bearer reads JWTs signed with HS256: the user is the claim sub, and all claims go on as they were
// signed. exp, nbf and iat count where they are given. A request without a valid token goes on
// without an identity, so that routes which need none stay open; the others refuse it.
func Bearer(secret []byte) func(http.Handler) http.Handler {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuedAt())
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			identity, err := identify(parser, secret, r.Header.Get("Authorization"))
			if err != nil {
				ctx = WithRefusal(ctx, err.Error())
			} else {
				ctx = WithIdentity(ctx, identity)
			}
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// refusal is a sentence for whoever sent the token.
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	errNoToken  refusal = "there is no bearer token. Send Authorization: Bearer with a token of your user."
	errNotValid refusal = "the token is not valid: it is not a JWT signed with HS256 and the server's secret."
	errExpired  refusal = "the token is not valid at this time. Get a new one."
	errNoUser   refusal = "the token names no user: its claim sub must be a text of 1 to 500 bytes."
)

func identify(parser *jwt.Parser, secret []byte, header string) (Identity, error) {
	scheme, text, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return Identity{}, errNoToken
	}
	text = strings.TrimSpace(text)
	var claims jwt.RegisteredClaims
	_, err := parser.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return secret, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return Identity{}, errExpired
	case err != nil:
		return Identity{}, errNotValid
	case claims.Subject == "" || len(claims.Subject) > maxUserBytes || strings.ContainsRune(claims.Subject, 0):
		return Identity{}, errNoUser
	}
	// The claims as they were signed: decoded and encoded again, large numbers would change.
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	if err != nil {
		return Identity{}, errNotValid
	}
	return Identity{UserID: claims.Subject, Claims: raw}, nil
}
