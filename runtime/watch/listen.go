package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
)

const (
	listen = "LISTEN tide_sealed"
	// connectTimeout bounds an attempt to connect, and an answer that shows a connection to be alive.
	connectTimeout = 10 * time.Second
	// quietTime is how long a connection may say nothing before it is asked whether it is still there.
	quietTime = 15 * time.Second
)

// listen keeps a connection that hears of seals.
func (h *Hub) listen(ctx context.Context) {
	retry := newBackoff()
	for {
		err := h.hear(ctx, retry.Reset)
		h.hears(func(is *heard) { is.listening = false })
		if ctx.Err() != nil {
			return
		}
		wait := retry.NextBackOff()
		h.config.Logger.WarnContext(ctx, "cannot hear of seals, polling meanwhile", slog.Any("error", err), slog.Duration("again in", wait))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
}

// hear until the connection is lost.
func (h *Hub) hear(ctx context.Context, connected func()) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it may be lost already
	}()
	connected()
	// What was sealed before this connection listened is to be read.
	h.hears(func(is *heard) { is.listening, is.anew = true, true })
	for {
		quiet, cancel := context.WithTimeout(ctx, quietTime)
		_, err := conn.WaitForNotification(quiet)
		cancel()
		switch {
		case err == nil:
			h.hears(func(is *heard) { is.said = true })
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("listen: %w", err)
		default:
			// A peer that vanished without a word is found out by asking.
			alive, cancel := context.WithTimeout(ctx, connectTimeout)
			err := conn.Ping(alive)
			cancel()
			if err != nil {
				return fmt.Errorf("listen: %w", err)
			}
		}
	}
}

func (h *Hub) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	config := h.config.Listen
	if config == nil {
		ofPool := h.pool.Config()
		config = ofPool.ConnConfig
		if ofPool.BeforeConnect != nil {
			if err := ofPool.BeforeConnect(ctx, config); err != nil {
				return nil, fmt.Errorf("prepare to connect: %w", err)
			}
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if _, err := conn.Exec(ctx, listen); err != nil {
		_ = conn.Close(ctx) // the error before says more
		return nil, fmt.Errorf("listen: %w", err)
	}
	return conn, nil
}

// hears notes something, for follow to see.
func (h *Hub) hears(note func(*heard)) {
	h.mutex.Lock()
	note(&h.heard)
	h.mutex.Unlock()
	h.poke()
}
