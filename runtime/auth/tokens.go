package auth

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// maxUserBytes is what a home bucket has room for.
const maxUserBytes = 500

// Config says which tokens are believed. Exactly one of Secret, Key and JWKSURL is given; it alone
// decides which algorithms are, whatever a token says of itself.
type Config struct {
	// Secret signs with HS256, with HS384 from 48 bytes on, with HS512 from 64 bytes on.
	Secret []byte
	// Key is an *rsa.PublicKey (RS and PS), *ecdsa.PublicKey (ES) or ed25519.PublicKey (EdDSA).
	// [ParseKey] reads one.
	Key crypto.PublicKey
	// JWKSURL is where an issuer publishes its public keys. They are fetched at once, every hour, and
	// when a token names a key that is not among them.
	JWKSURL string

	// Issuer that tokens must name as iss. Defaults to any.
	Issuer string
	// Audience of which tokens must name one as aud. Defaults to any.
	Audience []string
	// UserClaim holds the user: a string, or a whole number. Defaults to sub.
	UserClaim string
	// Leeway is how far the clock of the issuer may be off. Defaults to none.
	Leeway time.Duration
	// Logger hears of keys that could not be fetched. Defaults to discarding that.
	Logger *slog.Logger
}

// Tokens returns a middleware that reads JWTs: the user is a claim, and all claims go on as they were
// signed. exp, nbf and iat count where they are given. A request without a valid token goes on
// without an identity, so that routes which need none stay open; the others refuse it. Keys of a
// JWKSURL are fetched until ctx ends.
func Tokens(ctx context.Context, config Config) (func(http.Handler) http.Handler, error) {
	t, err := newTokens(ctx, config)
	if err != nil {
		return nil, err
	}
	return t.middleware, nil
}

// Bearer is [Tokens] for a secret alone.
func Bearer(secret []byte) func(http.Handler) http.Handler {
	return (&tokens{keys: static(secret), claim: "sub", parser: parser(algorithms(secret), Config{})}).middleware
}

type tokens struct {
	keys   func(context.Context) jwt.Keyfunc
	parser *jwt.Parser
	claim  string
	leeway time.Duration
}

func newTokens(ctx context.Context, config Config) (*tokens, error) {
	var key any
	given := 0
	if len(config.Secret) > 0 {
		key = config.Secret
		given++
	}
	if config.Key != nil {
		key = config.Key
		given++
	}
	if config.JWKSURL != "" {
		given++
	}
	if given != 1 {
		return nil, fmt.Errorf("%d ways to know the keys of tokens were given: give one of secret, key and JWKS URL", given)
	}
	t := &tokens{claim: config.UserClaim, leeway: config.Leeway}
	if t.claim == "" {
		t.claim = "sub"
	}
	if config.JWKSURL != "" {
		keys, err := fetched(ctx, config)
		if err != nil {
			return nil, err
		}
		t.keys, t.parser = keys, parser(publicAlgorithms, config)
		return t, nil
	}
	if err := assertStrong(key); err != nil {
		return nil, err
	}
	t.keys, t.parser = static(key), parser(algorithms(key), config)
	return t, nil
}

func static(key any) func(context.Context) jwt.Keyfunc {
	return func(context.Context) jwt.Keyfunc { return func(*jwt.Token) (any, error) { return key, nil } }
}

func parser(methods []string, config Config) *jwt.Parser {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(methods), jwt.WithIssuedAt(), jwt.WithLeeway(config.Leeway), jwt.WithStrictDecoding(),
		jwt.WithJSONNumber(), // users may be numbers beyond what a float64 holds
	}
	if config.Issuer != "" {
		options = append(options, jwt.WithIssuer(config.Issuer))
	}
	if len(config.Audience) > 0 {
		options = append(options, jwt.WithAudience(config.Audience...))
	}
	return jwt.NewParser(options...)
}

func (t *tokens) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		identity, err := t.identify(ctx, r.Header.Values("Authorization"))
		var refused Refused
		if errors.As(err, &refused) {
			ctx = WithRefusal(ctx, refused)
		} else {
			ctx = WithIdentity(ctx, identity)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

var (
	errNoToken    = Refused{Reason: "there is no bearer token. Send Authorization: Bearer with a token of your user, once."}
	errNotValid   = Refused{Reason: "the token is not valid: it is not a JWT that was signed for this server."}
	errExpired    = Refused{Reason: "the token is not valid at this time. Get a new one."}
	errNotForHere = Refused{Reason: "the token is not valid here: it names another issuer or another audience."}
	errNoKeys     = Refused{Reason: "the key of the token is not known, and the keys of its issuer cannot be fetched now. Try again.", Passing: true}
)

// identify returns an error that is a Refused, or the user.
func (t *tokens) identify(ctx context.Context, headers []string) (Identity, error) {
	if len(headers) != 1 {
		return Identity{}, errNoToken
	}
	scheme, text, found := strings.Cut(headers[0], " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return Identity{}, errNoToken
	}
	text = strings.TrimSpace(text)
	claims := jwt.MapClaims{}
	_, err := t.parser.ParseWithClaims(text, claims, t.keys(ctx))
	switch {
	case errors.Is(err, errNoKeys):
		return Identity{}, errNoKeys
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return Identity{}, errExpired
	case errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenInvalidAudience), errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return Identity{}, errNotForHere
	case err != nil:
		return Identity{}, errNotValid
	}
	user, ok := userOf(claims[t.claim])
	if !ok {
		return Identity{}, Refused{Reason: "the token names no user: its claim " + t.claim + " must be a text of 1 to 500 bytes, or a whole number."}
	}
	// The claims as they were signed: decoded and encoded again, large numbers would change.
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	if err != nil || !utf8.Valid(raw) {
		return Identity{}, errNotValid
	}
	identity := Identity{UserID: user, Claims: raw}
	if end, err := claims.GetExpirationTime(); err == nil && end != nil {
		identity.ExpiresAt = end.Add(t.leeway)
	}
	return identity, nil
}

var wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// userOf takes a number by its digits: 1e3 and 7.0 are no users, and no digit is lost.
func userOf(claim any) (string, bool) {
	var user string
	switch v := claim.(type) {
	case string:
		user = v
	case json.Number:
		if !wholeNumber.MatchString(v.String()) {
			return "", false
		}
		user = v.String()
	}
	return user, user != "" && len(user) <= maxUserBytes && !strings.ContainsRune(user, 0)
}
