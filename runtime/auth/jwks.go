package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

const (
	jwksRefresh = time.Hour
	// jwksUnknown is how often tokens that name an unknown key may have the keys fetched.
	jwksUnknown = 10 * time.Second
	jwksTimeout = 5 * time.Second
)

// fetched finds the key that a token names among those its issuer publishes.
func fetched(ctx context.Context, config Config) (func(context.Context) jwt.Keyfunc, error) {
	if err := assertPrivate(config.JWKSURL); err != nil {
		return nil, err
	}
	logger := config.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	link := &link{}
	mustLoad := false
	set, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{config.JWKSURL}, keyfunc.Override{
		Client:                    &http.Client{Transport: link, Timeout: jwksTimeout},
		HTTPTimeout:               jwksTimeout,
		NoErrorReturnFirstHTTPReq: &mustLoad,
		RefreshInterval:           jwksRefresh,
		RefreshUnknownKID:         rate.NewLimiter(rate.Every(jwksUnknown), 1),
		RateLimitWaitMax:          jwksTimeout,
		RefreshErrorHandlerFunc: func(url string) func(context.Context, error) {
			return func(ctx context.Context, err error) {
				logger.ErrorContext(ctx, "the keys of tokens could not be fetched: those known stay in use", slog.String("url", url), slog.Any("error", err))
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("fetch the keys of tokens from %s: %w", config.JWKSURL, err)
	}
	return func(ctx context.Context) jwt.Keyfunc {
		find := set.KeyfuncCtx(ctx)
		return func(token *jwt.Token) (any, error) {
			found, err := find(token)
			if err != nil {
				if link.down.Load() {
					return nil, errNoKeys // it may be a new one
				}
				return nil, err
			}
			return fitting(found, token.Method.Alg())
		}
	}, nil
}

// fitting leaves the keys that sign with the algorithm of the token.
func fitting(found any, algorithm string) (any, error) {
	candidates, several := found.(jwt.VerificationKeySet) // of a token that names no key
	if !several {
		candidates.Keys = []jwt.VerificationKey{found}
	}
	candidates.Keys = slices.DeleteFunc(slices.Clone(candidates.Keys), func(key jwt.VerificationKey) bool {
		return !slices.Contains(algorithms(key), algorithm) || assertStrong(key) != nil
	})
	if len(candidates.Keys) == 0 {
		return nil, errors.New("no key of the issuer signs with the algorithm of the token")
	}
	return candidates, nil
}

// assertPrivate refuses keys that anybody on the way could replace.
func assertPrivate(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("the JWKS URL %q is none: it begins with https://", text)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && !ip.IsLoopback() {
		return fmt.Errorf("the JWKS URL %q is not https: whoever is on the way could sign tokens", text)
	}
	return nil
}

// link knows whether the last keys arrived.
type link struct{ down atomic.Bool }

// RoundTrip implements http.RoundTripper.
func (l *link) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if !errors.Is(err, context.Canceled) { // that was a client who went away
		l.down.Store(err != nil || response.StatusCode != http.StatusOK)
	}
	return response, err
}
