package client

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Mode says which way data goes.
type Mode int32

// The modes of a client.
const (
	Both     Mode = iota
	PushOnly      // what others wrote is not fetched; what conflicts with it waits
	PullOnly      // what is written here waits
	Paused        // Run waits; Sync works as with Both
)

// SetMode changes it, also while Run runs.
func (c *Client) SetMode(mode Mode) {
	c.mode.Store(int32(mode))
	c.Wake()
}

// Wake makes Run sync now, and not wait for the end of a backoff: the network is back, say.
func (c *Client) Wake() {
	select {
	case c.wake <- struct{}{}:
	default: // it is awake
	}
}

// backoff grows from first, give or take half of it, up to MaxBackoff, which is never exceeded.
func (c *Client) backoff(first time.Duration) *backoff.ExponentialBackOff {
	most := time.Duration(float64(c.config.MaxBackoff) / (1 + backoff.DefaultRandomizationFactor))
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(min(first, most)), backoff.WithMaxInterval(most), backoff.WithMaxElapsedTime(0))
}

// Run syncs until ctx ends: when something was written here, by this process or another one, when the
// server says that there is news, and from time to time. What fails is tried again, ever less often.
// It returns only the error that a newer version of the application is needed, that the file was detached
// ([ErrOtherUser]), or that of the context.
func (c *Client) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go c.listen(ctx)
	wait := c.backoff(500 * time.Millisecond)
	for {
		pause := c.config.PollInterval
		err := c.syncUnlessPaused(ctx)
		var refused *ServerError
		var other *WaitError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused) && refused.Status == http.StatusUpgradeRequired, errors.Is(err, ErrOtherUser):
			return err
		case err != nil:
			pause = wait.NextBackOff()
			if errors.As(err, &refused) {
				pause = max(pause, refused.RetryAfter)
			}
			if errors.As(err, &other) {
				pause = max(pause, other.After)
			}
			c.config.Logger.InfoContext(ctx, "not in sync; trying again", "in", pause, "error", err)
		default:
			wait.Reset()
		}
		if err := c.sleep(ctx, pause, err == nil); err != nil {
			return err
		}
	}
}

// sleep ends early when somebody wakes, and, if it shall look, when the file was written.
func (c *Client) sleep(ctx context.Context, pause time.Duration, look bool) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	looks := time.NewTicker(c.config.LookInterval)
	defer looks.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-c.wake:
			return nil
		case <-looks.C:
			if look && Mode(c.mode.Load()) != Paused && Mode(c.mode.Load()) != PullOnly && c.written(ctx) {
				return nil
			}
		}
	}
}

// written says that there is something to push.
func (c *Client) written(ctx context.Context) bool {
	var found bool
	err := c.app.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM _tide_dirty WHERE held IS NULL AND seq > (SELECT looked FROM _tide_state))`).Scan(&found)
	return err == nil && found
}

// listen wakes Run when the server says that there is news. Where it does not, or cannot, polling has to do.
func (c *Client) listen(ctx context.Context) {
	wait := c.backoff(time.Second)
	for ctx.Err() == nil {
		if c.follow(ctx) {
			wait.Reset()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// follow reads one stream of events, about the buckets that the device holds now, and says whether there
// was one.
func (c *Client) follow(ctx context.Context) bool {
	select {
	case <-c.fetched:
	default:
	}
	s, _, err := c.readState(ctx)
	if err != nil || !s.connected {
		return false
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	answer, err := c.remote.request(ctx, s.source, http.MethodGet, "/sync/watch?cursor="+url.QueryEscape(s.cursor), nil)
	if err != nil {
		c.config.Logger.DebugContext(ctx, "the server does not tell of changes now: polling", "error", err)
		return false
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	go func() {
		select {
		case <-c.fetched:
			stop() // the next one is about these too
		case <-ctx.Done():
		}
	}()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data:") {
			c.Wake()
		}
	}
	return true
}
