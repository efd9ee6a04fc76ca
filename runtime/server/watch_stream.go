package server

import (
	"net/http"
	"time"

	"github.com/pgtide/pgtide/runtime/watch"
)

const (
	heartbeat = ": heartbeat\n\n"
	// tellingTime is about what it costs to tell one device. A bucket that many watch is told of no more
	// often than leaves the processors to others.
	tellingTime = 20 * time.Microsecond
	// longestPause is what a device waits at most for news that is there.
	longestPause = time.Second
)

// eventStream is an answer without an end.
type eventStream struct {
	*call
	told  int64
	first []byte     // what it begins with, if there is something to tell
	own   *watchConn // nil while the connection is that of net/http
	held  []string   // buckets of a cursor client, whose positions are those of the log; nil for the home bucket
}

func (s *eventStream) begin() error {
	header := s.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Accel-Buffering", "no") // a proxy passes on what is there
	s.takeOver()
	s.w.mayWrite(s.config.WriteTimeout)
	s.w.WriteHeader(http.StatusOK)
	if s.first == nil {
		s.first = []byte(heartbeat) // what stands between may hold back the header of an answer that is empty
	}
	return s.event(s.first)
}

// event sends what is given, at once. A client that does not take it is gone.
func (s *eventStream) event(frame []byte) error {
	if err := s.send(frame); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.w.mayWrite(0)
	return nil
}

// follow tells what is new until the client goes away, its token expires, or the server ends.
func (s *eventStream) follow(news *watch.Subscription) error {
	var expired <-chan time.Time
	if !s.user.ExpiresAt.IsZero() {
		timer := time.NewTimer(time.Until(s.user.ExpiresAt))
		defer timer.Stop()
		expired = timer.C
	}
	beat := time.NewTicker(s.config.HeartbeatInterval)
	defer beat.Stop()
	var events []*watch.Event
	wake := news.Wake()
	var rested <-chan time.Time
	for {
		var frame []byte
		select {
		case <-s.client.Done():
			return nil
		case <-s.draining:
			return nil
		case <-news.Ended():
			return nil
		case <-expired:
			return nil
		case <-rested:
			rested, wake = nil, news.Wake()
			continue
		case <-beat.C:
			frame = []byte(heartbeat)
		case <-wake:
			events = news.Take(events[:0])
			event := s.newest(events)
			if event == nil {
				continue
			}
			if mine, err := s.mayHear(events); !mine {
				return err
			}
			frame = s.tell(event)
			if pause := time.Duration(event.Watchers) * tellingTime; pause > time.Millisecond {
				rested, wake = time.After(min(pause, longestPause)), nil
			}
		}
		if err := s.event(frame); err != nil {
			return err
		}
	}
}

// newest of these events, nil if none is news.
func (s *eventStream) newest(events []*watch.Event) (newest *watch.Event) {
	last := s.told
	for _, event := range events {
		if position := s.position(event); position > last {
			last, newest = position, event
		}
	}
	return newest
}

func (s *eventStream) position(event *watch.Event) int64 {
	if s.held != nil {
		return event.BundleID
	}
	return event.BundleSeq
}

func (s *eventStream) tell(event *watch.Event) (frame []byte) {
	s.told = s.position(event)
	if s.held != nil {
		return watch.Frame("bundle_id", s.told)
	}
	return event.Frame
}
