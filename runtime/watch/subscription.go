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
	// SourceID and SourceBundleID are of that bundle; empty where the position alone was looked up.
	SourceID       string
	SourceBundleID int64
	// Watchers is how many are told.
	Watchers int
	// Frame is the event as Server-Sent Events have it, written once for all.
	Frame []byte
}

// NewEvent writes the frame too.
func NewEvent(bucket string, seq int64, sourceID string, sourceBundleID int64) *Event {
	b := strconv.AppendInt([]byte("event: bundle\nid: "), seq, 10)
	b = strconv.AppendInt(append(b, "\ndata: {\"bundle_seq\":"...), seq, 10)
	if sourceID != "" {
		b = wire.AppendString(append(b, `,"source_id":`...), sourceID)
		b = strconv.AppendInt(append(b, `,"source_bundle_id":`...), sourceBundleID, 10)
	}
	b = append(b, "}\n\n"...)
	return &Event{Bucket: bucket, BundleSeq: seq, SourceID: sourceID, SourceBundleID: sourceBundleID, Frame: b}
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
