// Package watch tells those who wait for news of a bucket that it has some. One hub serves a process:
// it hears of seals on one connection, reads new bundles once, and hands each to those who watch its
// bucket. Of several bundles it may tell the last one only; the last one is never missed.
package watch

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says how a hub hears of seals. The zero value works.
type Config struct {
	// Listen is how to reach the database for LISTEN, which a pooler in transaction mode cannot do.
	// Defaults to the way of the pool.
	Listen *pgx.ConnConfig
	// PollOnly does without LISTEN.
	PollOnly bool
	// PollInterval is how often the log is looked at while no seal can be heard: with PollOnly, or while
	// the connection that listens is lost. Defaults to 200 ms.
	PollInterval time.Duration
	// Logger gets what went wrong. Defaults to discarding it.
	Logger *slog.Logger
}

// WithDefaults fills in what is not set. [New] does it itself.
func (c Config) WithDefaults() Config {
	if c.PollInterval <= 0 {
		c.PollInterval = 200 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Hub knows who watches which bucket.
type Hub struct {
	pool   *pgxpool.Pool
	config Config
	news   chan struct{} // there may be something to do
	place  place         // only follow uses it

	mutex       sync.Mutex
	running     bool
	subscribers int
	topics      map[string]*topic
	history     chan struct{} // closed when what was told is no longer so, or nothing will be told
	heard       heard
}

// heard is what the connection that listens knows.
type heard struct {
	listening bool // it is there
	said      bool // it spoke since somebody looked
	anew      bool // and may have missed something before
}

// topic is a bucket that somebody watches.
type topic struct {
	seq         int64 // told last
	subscribers map[*Subscription]struct{}
}

// New makes a hub that reads the log through the pool.
func New(pool *pgxpool.Pool, config Config) *Hub {
	return &Hub{pool: pool, config: config.WithDefaults(), news: make(chan struct{}, 1), topics: map[string]*topic{}, history: make(chan struct{})}
}

// Run hears and tells until ctx ends, and rides out lost connections and restarts of the server. All
// subscriptions end with it.
func (h *Hub) Run(ctx context.Context) {
	h.mutex.Lock()
	h.running = true
	h.mutex.Unlock()
	var group sync.WaitGroup
	if !h.config.PollOnly {
		group.Go(func() { h.listen(ctx) })
	}
	h.follow(ctx)
	group.Wait()
	h.mutex.Lock()
	h.running = false
	h.mutex.Unlock()
	h.endAll()
}

// Subscribers is how many there are.
func (h *Hub) Subscribers() int {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.subscribers
}

// Running says whether anybody would be told anything now.
func (h *Hub) Running() bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.running
}

// Subscribe watches buckets until Close: whoever looks at a bucket after this call is told of
// everything that comes after what he saw.
func (h *Hub) Subscribe(buckets ...string) *Subscription {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	s := &Subscription{hub: h, buckets: slices.Clone(buckets), wake: make(chan struct{}, 1), ended: h.history}
	if h.subscribers++; h.subscribers == 1 {
		h.poke() // nothing was followed while nobody watched
	}
	for _, bucket := range s.buckets {
		t := h.topics[bucket]
		if t == nil {
			t = &topic{subscribers: map[*Subscription]struct{}{}}
			h.topics[bucket] = t
		}
		t.subscribers[s] = struct{}{}
	}
	return s
}

func (h *Hub) unsubscribe(s *Subscription) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for _, bucket := range s.buckets {
		t := h.topics[bucket]
		if t == nil {
			continue // named twice
		}
		if delete(t.subscribers, s); len(t.subscribers) == 0 {
			delete(h.topics, bucket)
		}
	}
	h.subscribers--
}

// endAll ends all subscriptions: whoever subscribes again looks at his buckets anew.
func (h *Hub) endAll() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	close(h.history)
	h.history = make(chan struct{})
	for _, t := range h.topics {
		t.seq = 0
	}
}

// watched are the buckets that somebody watches.
func (h *Hub) watched() []string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	buckets := make([]string, 0, len(h.topics))
	for bucket := range h.topics {
		buckets = append(buckets, bucket)
	}
	return buckets
}

// watches takes the bytes of a name, so that looking costs no memory.
func (h *Hub) watches(bucket []byte) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.topics[string(bucket)] != nil
}

// tell everybody whom an event concerns.
func (h *Hub) tell(events map[string]*Event) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for bucket, event := range events {
		t := h.topics[bucket]
		if t == nil || event.BundleSeq <= t.seq {
			continue
		}
		t.seq = event.BundleSeq
		event.Watchers = len(t.subscribers)
		for s := range t.subscribers {
			s.put(event)
		}
	}
}

// toldMore says whether somebody was told of a bundle that is not there.
func (h *Hub) toldMore(heads map[string]*Event) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for bucket, event := range heads {
		if t := h.topics[bucket]; t != nil && t.seq > event.BundleSeq {
			return true
		}
	}
	return false
}

// poke makes follow look.
func (h *Hub) poke() {
	select {
	case h.news <- struct{}{}:
	default: // it will
	}
}
