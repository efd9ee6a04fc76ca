package server

import (
	"sync"
	"sync/atomic"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// counters is what happened in this process: nothing of it is read from the log.
type counters struct {
	inflight, applied, replays, committedBytes atomic.Int64

	mutex     sync.Mutex
	positions positions
}

type positions struct {
	any                                               bool
	headMax, floorMin, floorMax, windowMin, windowMax int64
	pruned, rejected                                  int64
}

// position notes where a home bucket stood when somebody pulled.
func (c *counters) position(p db.HomePositionRow) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	s, window := &c.positions, p.HeadSeq-p.FloorSeq
	if !s.any {
		s.any, s.floorMin, s.windowMin = true, p.FloorSeq, window
	}
	s.headMax = max(s.headMax, p.HeadSeq)
	s.floorMin, s.floorMax = min(s.floorMin, p.FloorSeq), max(s.floorMax, p.FloorSeq)
	s.windowMin, s.windowMax = min(s.windowMin, window), max(s.windowMax, window)
}

// refused counts the errors that operators look for.
func (c *counters) refused(code wire.Code) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch code {
	case wire.HistoryPruned:
		c.positions.pruned++
	case wire.PushRejected:
		c.positions.rejected++
	}
}

type seen struct {
	positions
	applied, replays, bytes int64
}

func (c *counters) seen() seen {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return seen{c.positions, c.applied.Load(), c.replays.Load(), c.committedBytes.Load()}
}
