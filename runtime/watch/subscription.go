package watch

import (
	"strconv"
	"sync"

	"github.com/pgtide/pgtide/runtime/wire"
)

// Event says how far a bucket has come. All who are told share it.
type Event struct {
	Bucket    string
	BundleSeq int64
	BundleID  int64 // in the whole log
	// SourceID and SourceBundleID are of that bundle; empty where the position alone was looked up.
	SourceID       string
	SourceBundleID int64
	// Watchers is how many are told.
	Watchers int
	// Frame is the event as Server-Sent Events have it, written once for all.
	Frame []byte
}

// written has its frame.
func (e Event) written() *Event {
	b := beginFrame("bundle_seq", e.BundleSeq)
	if e.SourceID != "" {
		b = wire.AppendString(append(b, `,"source_id":`...), e.SourceID)
		b = strconv.AppendInt(append(b, `,"source_bundle_id":`...), e.SourceBundleID, 10)
	}
	b = append(b, endFrame...)
	e.Frame = b
	return &e
}

const endFrame = "}\n\n"

func beginFrame(name string, position int64) []byte {
	b := strconv.AppendInt([]byte("event: bundle\nid: "), position, 10)
	b = append(append(append(b, "\ndata: {\""...), name...), `":`...)
	return strconv.AppendInt(b, position, 10)
}

// Frame is an event that has a position alone, under this name.
func Frame(name string, position int64) []byte {
	return append(beginFrame(name, position), endFrame...)
}

// Subscription is one who watches buckets. It keeps the newest event of each, however slowly it is read.
type Subscription struct {
	hub     *Hub
	buckets []string
	wake    chan struct{}
	ended   chan struct{}

	mutex  sync.Mutex
	newest map[string]*Event
}

// Wake has something to receive when there are events to take.
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Ended is closed when the subscription will hear no more: the hub ended, or an earlier state of the
// database was restored.
func (s *Subscription) Ended() <-chan struct{} { return s.ended }

// Take appends the newest event of each bucket that has one since the last call, in no order.
func (s *Subscription) Take(events []*Event) []*Event {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, event := range s.newest {
		events = append(events, event)
	}
	clear(s.newest)
	return events
}

// Close ends the subscription. It is called once.
func (s *Subscription) Close() { s.hub.unsubscribe(s) }

func (s *Subscription) put(event *Event) {
	s.mutex.Lock()
	if s.newest == nil {
		s.newest = map[string]*Event{}
	}
	s.newest[event.Bucket] = event
	s.mutex.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}
