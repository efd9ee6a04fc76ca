package server

import (
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/watch"
	"github.com/pgtide/pgtide/runtime/wire"
)

// tooManyWatchesWait is about how long a stream that was cut goes unnoticed.
const tooManyWatchesWait = 10 * time.Second

// watch tells a device, as Server-Sent Events, how far its home bucket has come, or with a cursor all
// buckets that it holds.
func (c *call) watch() error {
	if c.config.NoWatch {
		return wire.Refuse(wire.WatchDisabled, "this server does not tell of changes. Pull from time to time.")
	}
	if c.r.URL.Query().Has("cursor") {
		return c.watchBuckets()
	}
	after, err := c.watchedUpTo()
	if err != nil {
		return err
	}
	return c.subscribe([]string{c.homeBucket()}, func() (stream eventStream, err error) {
		var position db.HomePositionRow
		err = c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
			done(batch.Queue(db.AssertScope, c.user.UserID))
			batch.Queue(db.HomePosition, c.user.UserID).QueryRow(func(row pgx.Row) error { return row.Scan(&position.FloorSeq, &position.HeadSeq) })
		})
		stream = eventStream{call: c, told: position.HeadSeq}
		if position.HeadSeq != after {
			// Also when the device is ahead, of a state that was restored: its pull will tell it.
			stream.first = watch.Frame("bundle_seq", position.HeadSeq)
		}
		return stream, err
	})
}

func (c *call) homeBucket() string { return "user:" + c.user.UserID } // as tide.home_bucket has it

// bucketsPerStream may be watched by one; who watches more has as many streams.
const bucketsPerStream = 1000

// subscribe to buckets, and begin with what look finds. It looks after that: what is sealed later is news.
func (c *call) subscribe(buckets []string, look func() (eventStream, error)) error {
	count := 1 + (len(buckets)-1)/bucketsPerStream
	if !c.watches.begin(c.user.UserID, count) {
		return &wire.Error{Code: wire.TooManyStreams, Retryable: true, RetryAfter: tooManyWatchesWait,
			Message: "this user has as many streams as a user may have (" + strconv.Itoa(c.config.MaxWatchesPerUser) + "). Close one, or try again when one that was cut has been noticed."}
	}
	news := c.hub.Subscribe(buckets...)
	var stream eventStream
	end := func() {
		if stream.own != nil {
			_ = stream.own.Close() // its end is that of the answer
		}
		news.Close()
		c.watches.end(c.user.UserID, count)
	}
	defer func() {
		if c.goesOn == nil {
			end()
		}
	}()
	var err error
	if stream, err = look(); err != nil {
		return err
	}
	if !c.hub.Running() {
		return wire.Unavailable("nothing tells of changes here now. Try again.", nil)
	}
	if err := stream.begin(); err != nil {
		return err
	}
	if stream.own == nil {
		return stream.follow(news)
	}
	c.goesOn = func() error {
		defer end()
		return stream.follow(news)
	}
	return nil
}

// watchedUpTo is what the device knows: an EventSource that connects again repeats its URL and adds
// what it heard last.
func (c *call) watchedUpTo() (int64, error) {
	heard, err := c.lastEvent()
	if err == nil && heard < 0 {
		return c.number("after_bundle_seq", 0, 0, wire.InvalidRequest)
	}
	return heard, err
}

// lastEvent is what Last-Event-ID says, -1 without it.
func (c *call) lastEvent() (int64, error) {
	text := c.r.Header.Get("Last-Event-ID")
	if text == "" {
		return -1, nil
	}
	position, err := strconv.ParseInt(text, 10, 64)
	if err != nil || position < 0 {
		return 0, &wire.Error{Code: wire.InvalidRequest, Message: "Last-Event-ID must be the id of an event of this route, a whole number from 0 on.", Cause: err}
	}
	return position, nil
}

// watches counts the streams of each user.
type watches struct {
	limit int
	mutex sync.Mutex
	of    map[string]int
}

func (w *watches) begin(user string, count int) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.of[user]+count > w.limit {
		return false
	}
	w.of[user] += count
	return true
}

func (w *watches) end(user string, count int) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.of[user] -= count; w.of[user] == 0 {
		delete(w.of, user)
	}
}
