package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/time/rate"

	"github.com/pgtide/pgtide/runtime/wire"
)

const (
	// rememberedUsers have their share; those beyond begin with a fresh one.
	rememberedUsers = 16384
	// burstSeconds of a user's requests may come at once, after as long a silence.
	burstSeconds = 10
)

// shares bounds what each user takes, so that none takes all.
type shares struct {
	mutex  sync.Mutex
	users  *lru.Cache[string, *share]
	config Config
}

// share is what one user may take.
type share struct {
	requests *rate.Limiter // how many in a time; nil is any number
	slots    chan struct{} // one for each that is being answered
	streams  chan struct{} // one for each answer that is streamed
}

func newShares(config Config) *shares {
	users, err := lru.New[string, *share](rememberedUsers)
	if err != nil {
		panic(err) // it refuses sizes that are not positive
	}
	return &shares{users: users, config: config}
}

func (s *shares) of(user string) *share {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if known, ok := s.users.Get(user); ok {
		return known
	}
	fresh := &share{slots: make(chan struct{}, s.config.MaxRequestsPerUser), streams: make(chan struct{}, s.config.MaxStreamsPerUser)}
	if perSecond := s.config.RequestsPerUser; perSecond > 0 {
		fresh.requests = rate.NewLimiter(rate.Limit(perSecond), perSecond*burstSeconds)
	}
	s.users.Add(user, fresh)
	return fresh
}

// mayAsk counts a request of the user.
func (s *share) mayAsk() *wire.Error {
	if s.requests == nil {
		return nil
	}
	place := s.requests.Reserve()
	wait := place.Delay()
	if wait == 0 {
		return nil
	}
	place.Cancel()
	return tooMany(fmt.Sprintf("this user asks more often than %v times a second.", s.requests.Limit()), wait)
}

// enter waits until the user has few enough requests that are being answered; the others of his wait
// here, and hold nothing that anybody else needs.
func (c *call) enter(ctx context.Context) (leave func(), refused *wire.Error) {
	queue := time.NewTimer(c.config.QueueTimeout)
	defer queue.Stop()
	select {
	case c.share.slots <- struct{}{}:
		return func() { <-c.share.slots }, nil
	case <-queue.C:
		return nil, tooMany(fmt.Sprintf("%d requests of this user are being answered.", cap(c.share.slots)), time.Second)
	case <-ctx.Done():
		return nil, wire.Unavailable("the client went away", ctx.Err())
	}
}

func tooMany(why string, wait time.Duration) *wire.Error {
	return &wire.Error{Code: wire.TooManyRequests, Message: why + " Ask less, and again after Retry-After.", Retryable: true, RetryAfter: wait}
}

// acquire gets a connection, or says at once that there is none: who waits longer asks again anyway.
func (s *Server) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	queued, cancel := context.WithTimeout(ctx, s.config.QueueTimeout)
	defer cancel()
	conn, err := s.pool.Acquire(queued)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return nil, busy("no connection to the database was free in time. Try again.", err)
	}
	return nil, fmt.Errorf("get a connection: %w", err)
}

func busy(message string, cause error) *wire.Error {
	return &wire.Error{Code: wire.ServerBusy, Message: message, Retryable: true, RetryAfter: time.Second, Cause: cause}
}

// hostAdmits asks the host whether there is room for the request.
func (c *call) hostAdmits() *wire.Error {
	if c.config.Admit == nil {
		return nil
	}
	err := c.config.Admit(c.r)
	var own *wire.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own
	}
	return busy("the server has no room for this request now. Try again.", err)
}
