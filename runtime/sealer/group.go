package sealer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// longestSeal bounds a seal on a connection that is dead without anybody having noticed. It is far more
// than one step of a long seal takes.
const longestSeal = 10 * time.Minute

// Group lets many wait for seals in one process: one seal runs at a time, and all who asked while it
// ran share the next one, because only a seal that begins after a commit is sure to take it.
type Group struct {
	// Observe is told what was done ("seal", "clean", "maintain"), how long it took, and how it ended.
	// It is set before the group is used, or not at all.
	Observe func(task string, took time.Duration, err error)

	pool *pgxpool.Pool
	last atomic.Int64 // Unix nanoseconds

	mutex   sync.Mutex
	alone   bool
	running bool
	next    *round
}

// round is one seal and those who wait for it.
type round struct {
	done chan struct{}
	last int64
	err  error
}

// NewGroup makes a group that seals through the pool.
func NewGroup(pool *pgxpool.Pool) *Group {
	g := &Group{pool: pool, Observe: func(string, time.Duration, error) {}}
	g.last.Store(time.Now().UnixNano())
	return g
}

// Last is when a seal last succeeded, or when the group was made.
func (g *Group) Last() time.Time { return time.Unix(0, g.last.Load()) }

// observed tells Observe how do went.
func (g *Group) observed(task string, do func() error) error {
	began := time.Now()
	err := do()
	g.Observe(task, time.Since(began), err)
	return err
}

// Seal waits for a seal that begins after this call, and returns its last bundle_id. It needs no
// other process: the first who asks begins the seal, for all who follow.
func (g *Group) Seal(ctx context.Context) (int64, error) {
	r := g.join(ctx)
	select {
	case <-r.done:
		return r.last, r.err
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for a seal: %w", ctx.Err())
	}
}

// Alone says whether nobody seals in this process or waits for it, so that the caller gains nothing
// from sharing a seal: it may seal on a connection of its own, in one round trip with what it seals,
// tells Sealed, and calls done. Nobody waits for that: who asks meanwhile seals beside it.
func (g *Group) Alone() (done func(), alone bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.running || g.alone {
		return nil, false
	}
	g.alone = true
	return func() {
		g.mutex.Lock()
		defer g.mutex.Unlock()
		g.alone = false
	}, true
}

// Sealed is told of a seal that the group did not run.
func (g *Group) Sealed(took time.Duration) {
	g.last.Store(time.Now().UnixNano())
	g.Observe("seal", took, nil)
}

func (g *Group) join(ctx context.Context) *round {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.next == nil {
		g.next = &round{done: make(chan struct{})}
	}
	r := g.next
	if !g.running {
		g.running = true
		// Others wait for it too: it does not end with the one who happened to be first.
		go g.work(context.WithoutCancel(ctx))
	}
	return r
}

// work seals as long as somebody waits.
func (g *Group) work(ctx context.Context) {
	for {
		g.mutex.Lock()
		r := g.next
		g.next = nil
		g.running = r != nil
		g.mutex.Unlock()
		if r == nil {
			return
		}
		g.seal(ctx, r)
	}
}

func (g *Group) seal(ctx context.Context, r *round) {
	defer close(r.done)
	ctx, cancel := context.WithTimeout(ctx, longestSeal)
	defer cancel()
	r.err = g.observed("seal", func() (err error) {
		r.last, err = Seal(ctx, g.pool)
		return err
	})
	if r.err == nil {
		g.last.Store(time.Now().UnixNano())
	}
}
