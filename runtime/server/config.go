package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/pgtide/pgtide/runtime/sealer"
	"github.com/pgtide/pgtide/runtime/watch"
)

// Config bounds what a request may take. The zero value works.
type Config struct {
	// AppName is told to clients. Defaults to nothing.
	AppName string
	// SchemaVersion is the version of the application's tables, told to clients. Defaults to 1.
	SchemaVersion int
	// OperatorToken opens /syncx/status to whoever sends it as a bearer token. Defaults to nobody.
	OperatorToken string

	// MaxBodyBytes is the longest request body. Defaults to 32 MiB.
	MaxBodyBytes int64
	// MaxPullBytes is how much payload a page of a pull has, unless its first bundle alone is larger.
	// Defaults to 1 MiB.
	MaxPullBytes int64
	// BufferBytes of an answer are held in memory, so that a slow client holds no connection of the
	// pool; a longer answer is streamed. Defaults to 4 MiB.
	BufferBytes int
	// MaxStreams is how many answers may be streamed at a time. Defaults to a quarter of the pool.
	MaxStreams int

	// MaxStreamsPerUser of these go to one user; more are refused with too_many_streams. Defaults to
	// half of MaxStreams.
	MaxStreamsPerUser int
	// MaxRequestsPerUser are answered at a time to one user; more wait for QueueTimeout, and are refused
	// with too_many_requests then. Defaults to half of the pool, and at least 2.
	MaxRequestsPerUser int
	// RequestsPerUser is how many requests a user may make in a second, on average over ten; more are
	// refused with too_many_requests. Defaults to any number.
	RequestsPerUser int
	// Admit may refuse a request of a user when the host has no room for it: with server_busy, or with
	// the answer that a *wire.Error is. Defaults to none refused.
	Admit func(*http.Request) error

	// QueueTimeout is how long a request waits for a connection to the database; then it is refused with
	// server_busy. Defaults to 5 seconds.
	QueueTimeout time.Duration
	// RequestTimeout is how long a request may take, the stream of a snapshot excepted. Defaults to
	// 30 seconds.
	RequestTimeout time.Duration
	// LockTimeout is how long a push waits for a row that somebody else changes. Defaults to 5 seconds.
	LockTimeout time.Duration
	// StreamTimeout is how long a snapshot may take to build or to stream. Defaults to 10 minutes.
	StreamTimeout time.Duration
	// WriteTimeout is how long a client may take to accept a piece of an answer. Defaults to 30 seconds.
	WriteTimeout time.Duration

	// NoWatch does without telling devices of changes: they poll.
	NoWatch bool
	// Watch says how this process hears of changes.
	Watch watch.Config
	// MaxWatchesPerUser is how many streams a user may watch at a time. Defaults to 100.
	MaxWatchesPerUser int
	// HeartbeatInterval is how often a stream without news says that it is there. Defaults to 25 seconds.
	HeartbeatInterval time.Duration

	// NoteClientsEvery is how often Run writes what devices say of themselves to tide.clients, if it is
	// new. Defaults to 30 seconds.
	NoteClientsEvery time.Duration
	// CachedHashes is how many bundle hashes are remembered. Defaults to 4096.
	CachedHashes int
	// Sealing says how often Run seals.
	Sealing sealer.Config
	// Logger gets a line for each request. Defaults to discarding it.
	Logger *slog.Logger
	// Registry takes the metrics of this server, and GET /metrics shows all it has. Defaults to one of
	// the server's own, with those of the process.
	Registry *prometheus.Registry
	// TracerProvider makes the spans of requests. Defaults to the global one of OpenTelemetry, which
	// does nothing until a program sets another.
	TracerProvider trace.TracerProvider
}

// WithDefaults fills in what is not set, for a pool of this size. [New] does it itself.
func (c Config) WithDefaults(poolSize int32) Config {
	set(&c.SchemaVersion, 1)
	set(&c.MaxBodyBytes, 32<<20)
	set(&c.MaxPullBytes, 1<<20)
	set(&c.BufferBytes, 4<<20)
	set(&c.MaxStreams, max(1, int(poolSize)/4))
	set(&c.MaxStreamsPerUser, max(1, c.MaxStreams/2))
	set(&c.MaxRequestsPerUser, max(2, int(poolSize)/2))
	set(&c.QueueTimeout, 5*time.Second)
	set(&c.NoteClientsEvery, 30*time.Second)
	set(&c.RequestTimeout, 30*time.Second)
	set(&c.LockTimeout, 5*time.Second)
	set(&c.StreamTimeout, 10*time.Minute)
	set(&c.WriteTimeout, 30*time.Second)
	set(&c.MaxWatchesPerUser, 100)
	set(&c.HeartbeatInterval, 25*time.Second)
	set(&c.CachedHashes, 4096)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Sealing.Logger == nil {
		c.Sealing.Logger = c.Logger
	}
	if c.Watch.Logger == nil {
		c.Watch.Logger = c.Logger
	}
	c.Watch = c.Watch.WithDefaults()
	return c
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
