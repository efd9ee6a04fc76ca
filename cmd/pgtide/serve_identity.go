package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rs/cors"
	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/runtime/auth"
)

// middleware is what stands before the server.
type middleware = func(http.Handler) http.Handler

// identity finds out who asks, in the one way that was set.
func identity(ctx context.Context, cmd *cli.Command, logger *slog.Logger) (middleware, error) {
	var given []string
	for _, name := range []string{"jwt-secret", "jwt-key-file", "jwks-url", "trust-user-header"} {
		if cmd.String(name) != "" {
			given = append(given, "--"+name)
		}
	}
	switch {
	case len(given) == 0:
		return nil, wrongUsage("nobody could ask: set PGTIDE_JWT_SECRET, PGTIDE_JWT_KEY_FILE or PGTIDE_JWKS_URL to what the tokens of your users are checked with")
	case len(given) > 1:
		return nil, wrongUsage("%s were given: give one of them", strings.Join(given, " and "))
	case given[0] == "--trust-user-header":
		return auth.TrustHeader(cmd.String("trust-user-header"), logger), nil
	}
	config := auth.Config{
		Secret: []byte(cmd.String("jwt-secret")), JWKSURL: cmd.String("jwks-url"),
		Issuer: cmd.String("jwt-issuer"), Audience: listed(cmd.String("jwt-audience")), UserClaim: cmd.String("jwt-user-claim"), Leeway: cmd.Duration("jwt-leeway"),
		Logger: logger,
	}
	if file := cmd.String("jwt-key-file"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, wrongUsage("--jwt-key-file: %v", err)
		}
		if config.Key, err = auth.ParseKey(text); err != nil {
			return nil, wrongUsage("--jwt-key-file %s: %v", file, err)
		}
	}
	believe, err := auth.Tokens(ctx, config)
	if err != nil {
		return nil, wrongUsage("%s: %s", given[0], oneLine(err.Error()))
	}
	return believe, nil
}

// assertPrivateAddress keeps development mode on this machine, and says that it is on.
func assertPrivateAddress(ctx context.Context, cmd *cli.Command, addr net.Addr, logger *slog.Logger) error {
	header := cmd.String("trust-user-header")
	if header == "" {
		return nil
	}
	if tcp, ok := addr.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return wrongUsage("--trust-user-header believes everybody, so it needs a loopback address: %s can be reached from elsewhere", addr)
	}
	logger.WarnContext(ctx, "DEVELOPMENT MODE: whoever names a user in a header is believed without a token", slog.String("header", header), slog.String("addr", addr.String()))
	return nil
}

// corsMaxAge is how long a browser need not ask again whether a page may call.
const corsMaxAge = 10 * time.Minute

// crossOrigin lets web pages of other origins call, if they were set.
func crossOrigin(origins []string) (middleware, error) {
	if len(origins) == 0 {
		return func(next http.Handler) http.Handler { return next }, nil
	}
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if origin != "*" && (err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin) {
			return nil, wrongUsage("--cors-origins: %q is no origin: it is like https://app.example, without a path", origin)
		}
	}
	// Tokens are sent by the page, never by the browser on its own: no credentials.
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodPost, http.MethodDelete},
		AllowedHeaders: []string{"*"},
		ExposedHeaders: []string{"X-Request-Id", "Retry-After"},
		MaxAge:         int(corsMaxAge.Seconds()),
	}).Handler, nil
}
