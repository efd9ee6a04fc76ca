package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/watch"
	"github.com/pgtide/pgtide/runtime/wire"
)

const (
	heartbeat = ": heartbeat\n\n"
	// tellingTime is about what it costs to tell one device. A bucket that many watch is told of no more
	// often than leaves the processors to others.
	tellingTime = 20 * time.Microsecond
	// longestPause is what a device waits at most for news that is there.
	longestPause = time.Second
	// tooManyWatchesWait is about how long a stream that was cut goes unnoticed.
	tooManyWatchesWait = 10 * time.Second
)

// watch tells a device, as Server-Sent Events, how far its home bucket has come.
func (c *call) watch() error {
	if c.config.NoWatch {
		return wire.Refuse(wire.WatchDisabled, "this server does not tell of changes. Pull from time to time.")
	}
	after, err := c.watchedUpTo()
	if err != nil {
		return err
	}
	if !c.watches.begin(c.user.UserID) {
		return &wire.Error{Code: wire.TooManyStreams, Retryable: true, RetryAfter: tooManyWatchesWait,
			Message: "this user has as many streams as a user may have (" + strconv.Itoa(c.config.MaxWatchesPerUser) + "). Close one, or try again when one that was cut has been noticed."}
	}
	defer c.watches.end(c.user.UserID)
	// Before the head is read: what is sealed after that is news.
	bucket := "user:" + c.user.UserID // as tide.home_bucket has it
	news := c.hub.Subscribe(bucket)
	defer news.Close()
	var position db.HomePositionRow
	err = c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
		done(batch.Queue(db.AssertScope, c.user.UserID))
		batch.Queue(db.HomePosition, c.user.UserID).QueryRow(func(row pgx.Row) error { return row.Scan(&position.FloorSeq, &position.HeadSeq) })
	})
	if err != nil {
		return err
	}
	if !c.hub.Running() {
		return wire.Unavailable("nothing tells of changes here now. Try again.", nil)
	}
	stream := eventStream{call: c, told: position.HeadSeq}
	first := []byte(heartbeat) // what stands between may hold back the header of an answer that is empty
	if position.HeadSeq != after {
		// Also when the device is ahead, of a state that was restored: its pull will tell it.
		first = watch.NewEvent(bucket, position.HeadSeq, "", 0).Frame
	}
	if err := stream.begin(first); err != nil {
		return err
	}
	return stream.follow(news)
}

// watchedUpTo is what the device knows: an EventSource that connects again repeats its URL and adds
// what it heard last.
func (c *call) watchedUpTo() (int64, error) {
	text := c.r.Header.Get("Last-Event-ID")
	if text == "" {
		return c.number("after_bundle_seq", 0, 0, wire.InvalidRequest)
	}
	seq, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seq < 0 {
		return 0, &wire.Error{Code: wire.InvalidRequest, Message: "Last-Event-ID must be the id of an event of this route, a whole number from 0 on.", Cause: err}
	}
	return seq, nil
}

// eventStream is an answer without an end.
type eventStream struct {
	*call
	told int64
}

func (s *eventStream) begin(first []byte) error {
	header := s.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Accel-Buffering", "no") // a proxy passes on what is there
	s.w.WriteHeader(http.StatusOK)
	return s.event(first)
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
			for _, event := range events {
				if event.BundleSeq <= s.told {
					continue
				}
				s.told, frame = event.BundleSeq, event.Frame
				if pause := time.Duration(event.Watchers) * tellingTime; pause > time.Millisecond {
					rested, wake = time.After(min(pause, longestPause)), nil
				}
			}
		}
		if frame == nil {
			continue
		}
		if err := s.event(frame); err != nil {
			return err
		}
	}
}

// watches counts the streams of each user.
type watches struct {
	limit int
	mutex sync.Mutex
	of    map[string]int
}

func (w *watches) begin(user string) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.of[user] >= w.limit {
		return false
	}
	w.of[user]++
	return true
}

func (w *watches) end(user string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.of[user]--; w.of[user] == 0 {
		delete(w.of, user)
	}
}
