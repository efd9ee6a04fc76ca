package client

import (
	"context"
	"log/slog"
	"net/http"
	"time"
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
	// MaxRowsPerSeed is how many of the rows that were there before the first sync go in one bundle, if there are
	// more. What is written later is never split. Defaults to 10000.
	MaxRowsPerSeed int
	// MaxRowsPerChunk of a snapshot are fetched at a time; a cut loses no more. Defaults to 5000.
	MaxRowsPerChunk int
	// MaxBundlesPerPage is how many bundles are asked for at a time. Defaults to 1000.
	MaxBundlesPerPage int
	// PollInterval is how often Run asks the server although it heard of nothing. Defaults to 30 seconds.
	PollInterval time.Duration
	// LookInterval is how soon Run notices what was written to the file. Defaults to 200 milliseconds.
	LookInterval time.Duration
	// MaxBackoff is how long Run waits at most before it tries again. Defaults to 5 minutes.
	MaxBackoff time.Duration
	// Progress is told of work that may take long. Defaults to nobody.
	Progress func(Progress)

	// AppVersion, Platform and DeviceName are told to the server, which may refuse versions that are too old.
	AppVersion, Platform, DeviceName string
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
	if c.MaxRowsPerSeed <= 0 {
		c.MaxRowsPerSeed = 10000
	}
	if c.MaxRowsPerChunk <= 0 {
		c.MaxRowsPerChunk = 5000
	}
	if c.MaxBundlesPerPage <= 0 {
		c.MaxBundlesPerPage = 1000
	}
	if c.PollInterval <= 0 {
		c.PollInterval = 30 * time.Second
	}
	if c.LookInterval <= 0 {
		c.LookInterval = 200 * time.Millisecond
	}
	if c.MaxBackoff <= 0 {
		c.MaxBackoff = 5 * time.Minute
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Progress is how far some work has come.
type Progress struct {
	// Work is "fetch" or "push".
	Work string
	// Done of Total rows.
	Done, Total int64
}
