package client

import (
	"maps"
	"slices"
	"sync"
)

// Changes tells a user interface which tables the server changed, for it to read them again. What the
// application itself writes is not told.
type Changes struct {
	// C has something when there is news: call Take then.
	C <-chan struct{}

	client *Client
	wake   chan struct{}
	mutex  sync.Mutex
	tables map[string]struct{}
}

// Changes begins to listen. Close it in the end.
func (c *Client) Changes() *Changes {
	wake := make(chan struct{}, 1)
	changes := &Changes{C: wake, wake: wake, client: c, tables: map[string]struct{}{}}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.heard[changes] = struct{}{}
	return changes
}

// Take returns the tables that changed since it was called last.
func (c *Changes) Take() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	names := slices.Sorted(maps.Keys(c.tables))
	clear(c.tables)
	return names
}

// Close ends it.
func (c *Changes) Close() {
	c.client.mutex.Lock()
	defer c.client.mutex.Unlock()
	delete(c.client.heard, c)
}

// tell is called once it is committed that these tables were written.
func (c *Client) tell(changed map[int64]bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for listener := range c.heard {
		listener.mutex.Lock()
		for id := range changed {
			if t := c.tables()[id]; t != nil {
				listener.tables[t.local] = struct{}{}
			}
		}
		news := len(listener.tables) > 0
		listener.mutex.Unlock()
		if news {
			select {
			case listener.wake <- struct{}{}:
			default: // it has not taken the last one yet
			}
		}
	}
}
