package client

import (
	"context"
	"log/slog"
	"net/http"
)

// Config says whose data this is and where the server is.
type Config struct {
	// URL is the server, without /sync.
	URL string
	// User is who is signed in. A file belongs to one user: another one is refused.
	User string
	// Token gives the bearer token of each request. Defaults to none.
	Token func(context.Context) (string, error)
	// Header is sent with each request.
	Header http.Header
	// HTTPClient makes the requests. Defaults to http.DefaultClient.
	HTTPClient *http.Client

	// Tables are those to sync. Defaults to all that the server tells of.
	Tables []Table
	// Resolvers decide, by name of the table, what becomes of a row that both sides changed. Defaults to
	// ServerWins.
	Resolvers map[string]Resolver

	// MaxRowsPerRequest is how many rows a push may have in one request; more go in several. Defaults to 500.
	MaxRowsPerRequest int
	// MaxBundlesPerPage is how many bundles are asked for at a time. Defaults to 1000.
	MaxBundlesPerPage int
	// Logger hears what happens. Defaults to discarding it.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.HTTPClient == nil {
		c.HTTPClient = http.DefaultClient
	}
	if c.MaxRowsPerRequest <= 0 {
		c.MaxRowsPerRequest = 500
	}
	if c.MaxBundlesPerPage <= 0 {
		c.MaxBundlesPerPage = 1000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
