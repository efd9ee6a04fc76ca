// Package server is the HTTP front of pgtide: a handler that speaks bundle protocol v1 and what
// pgtide adds to it (docs/protocol.md). Rules about data are in the database; this package carries
// requests there and answers back.
package server

import (
	"context"
	"net/http"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"github.com/pgtide/pgtide/runtime/sealer"
	"github.com/pgtide/pgtide/runtime/watch"
)

// Server is an http.Handler. Who asks is taken from the context of a request (package auth), which a
// middleware around the server fills.
type Server struct {
	pool    *pgxpool.Pool
	config  Config
	routes  router
	handler http.Handler
	seals   *sealer.Group

	metrics *metrics
	tracer  trace.Tracer

	hashes    *lru.Cache[bundleID, bundle]
	streams   chan struct{} // one for each answer that is streamed
	exporting chan struct{} // one for each two connections held at a time
	shares    *shares
	clients   *clients
	notice    notice
	counts    counters
	health    healthCheck
	hub       *watch.Hub
	watches   watches
	draining  chan struct{} // closed when it does
	drain     sync.Once
}

// New returns a server on the pool, which needs at least two connections and is closed by whoever
// made it.
func New(pool *pgxpool.Pool, config Config) *Server {
	size := pool.Config().MaxConns
	config = config.WithDefaults(size)
	hashes, err := lru.New[bundleID, bundle](config.CachedHashes)
	if err != nil {
		panic(err) // it refuses sizes that are not positive, and this one is
	}
	s := &Server{
		pool:   pool,
		config: config,
		routes: routes(),
		seals:  sealer.NewGroup(pool),
		tracer: tracerOf(config.TracerProvider),
		hashes: hashes,
		// A stream holds one connection for long: others must find one.
		streams:   make(chan struct{}, config.MaxStreams),
		exporting: make(chan struct{}, 1),
		hub:       watch.New(pool, config.Watch),
		watches:   watches{limit: config.MaxWatchesPerUser, of: map[string]int{}},
		draining:  make(chan struct{}),
		shares:    newShares(config),
		clients:   newClients(),
	}
	if s.config.Sealing.Eager == nil {
		s.config.Sealing.Eager = func() bool { return s.hub.Subscribers() > 0 }
	}
	s.metrics = newMetrics(s, config.Registry)
	s.seals.Observe = s.metrics.sealed
	s.handler = s.handled(false)
	return s
}

// Run seals until ctx ends, tells devices that watch of what is new, and returns nil then. Pushes are
// sealed without it as well; what others write to the database is sealed only while somebody does this
// duty, and nobody can watch a server that does not run. It returns an error when trying again cannot
// help.
func (s *Server) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var telling sync.WaitGroup
	if !s.config.NoWatch {
		telling.Go(func() { s.hub.Run(ctx) })
	}
	telling.Go(func() { s.noteClients(ctx) })
	telling.Go(func() { s.tellHooks(ctx) })
	err := s.seals.Run(ctx, s.config.Sealing)
	stop()
	telling.Wait()
	return err
}

// Drain makes the server refuse new requests with 503 and end the streams of devices that watch, before
// it is shut down.
func (s *Server) Drain() { s.drain.Do(func() { close(s.draining) }) }

func (s *Server) drains() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }
