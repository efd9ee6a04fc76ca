package sealer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// longestSeal bounds a seal on a connection that is dead without anybody having noticed. It is far more
// than one step of a long seal takes.
const longestSeal = 10 * time.Minute

// Group lets many wait for seals in one process: one seal runs at a time, and all who asked while it
// ran share the next one, because only a seal that begins after a commit is sure to take it.
type Group struct {
	pool *pgxpool.Pool

	mutex   sync.Mutex
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
func NewGroup(pool *pgxpool.Pool) *Group { return &Group{pool: pool} }

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
	r.last, r.err = Seal(ctx, g.pool)
}
