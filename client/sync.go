package client

import (
	"context"
	"errors"
)

// ErrBusy says that the rows of a push were changed by others again and again.
var ErrBusy = errors.New("others changed the same rows each time: try again")

// Sync brings what was written here to the server and what others wrote here, until there is nothing left
// to do. Rows that the server refused wait, and are no error: [Client.DeadLetters] lists them.
func (c *Client) Sync(ctx context.Context) error {
	c.syncing.Lock()
	defer c.syncing.Unlock()
	return c.sync(ctx, Mode(c.mode.Load()))
}

// syncUnlessPaused is what Run does. The mode is looked at when nothing else syncs: it may have changed until then.
func (c *Client) syncUnlessPaused(ctx context.Context) error {
	c.syncing.Lock()
	defer c.syncing.Unlock()
	mode := Mode(c.mode.Load())
	if mode == Paused {
		return nil
	}
	return c.sync(ctx, mode)
}

func (c *Client) sync(ctx context.Context, mode Mode) error {
	if err := c.refresh(ctx); err != nil {
		return err
	}
	told := map[string]bool{}
	last := int64(0)
	for try := 0; try < 20; try++ {
		if err := c.withdraw(ctx, mode); err != nil {
			return err
		}
		// What is under way comes first: until its outcome is known nobody can say what a row of the server
		// means for the row here.
		conflicts, err := c.send(ctx)
		if err != nil {
			return err
		}
		s, _, err := c.readState(ctx)
		if err != nil {
			return err
		}
		if s.next > last { // another one arrived
			last, try = s.next, 0
		}
		if mode == PushOnly {
			if s.connected && len(conflicts) > 0 {
				return nil
			}
			if !s.connected {
				mode = Both // there is no base to push on
			}
		}
		if mode != PushOnly {
			err = c.pull(ctx)
		}
		if err == nil && len(conflicts) > 0 {
			err = c.takeConflicts(ctx, conflicts, told)
		}
		if errors.Is(err, errUnderWay) {
			continue
		}
		if err != nil || mode == PullOnly {
			return err
		}
		more, err := c.freeze(ctx)
		if errors.Is(err, errOvertaken) || errors.Is(err, errUnderWay) {
			continue
		}
		if err != nil || !more {
			return err
		}
	}
	return ErrBusy
}

// withdraw takes back a push that was never sent, where nothing shall be pushed.
func (c *Client) withdraw(ctx context.Context, mode Mode) error {
	if mode != PullOnly {
		return nil
	}
	return c.transact(ctx, func(w *writer) error {
		if w.state.attempted {
			return nil
		}
		return w.thaw()
	})
}

// freeze makes the next push, and says whether there is one.
func (c *Client) freeze(ctx context.Context) (more bool, err error) {
	var s state
	err = c.transact(ctx, func(w *writer) error {
		s = w.state
		if more, err = w.get(`SELECT 1 FROM _tide_outbox`, nil, new(int)); more || err != nil {
			return err
		}
		more, err = w.freeze()
		return err
	})
	if err != nil || more || s.initialization == "" {
		return more, err
	}
	// The server waits for first data of this device, and there is none that could go.
	return true, c.connect(ctx, s, false, false)
}
