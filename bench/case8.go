package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"strconv"
	"time"
)

func init() {
	register(Case{
		Number: 8,
		Title:  "devices that watch: memory of the front for each while it is idle, and how long it takes to tell all of one bundle",
		Limit:  "a goroutine and a socket each, to which one line is written",
		Run:    watching,
	})
}

// memoryEach is of one who watches.
var memoryEach = Metric{Unit: "B", LowerIsBetter: true, Of: func(t *Trial) float64 { return t.Value }}

func watching(ctx context.Context, b *Bench) error {
	d, err := b.Database(ctx)
	if err != nil {
		return err
	}
	if err := createNotes(ctx, d); err != nil {
		return err
	}
	if _, err := d.Exec(ctx, "INSERT INTO "+synced+" SELECT "+fmt.Sprintf(noteRow, "1", "1")); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	front, err := d.Front(ctx)
	if err != nil {
		return err
	}
	device, err := front.Device(ctx, "1", "bench")
	if err != nil {
		return err
	}
	conn, err := d.Session(ctx)
	if err != nil {
		return err
	}
	port, err := front.order(orderSockets)
	if err != nil {
		return err
	}
	sockets := net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10))
	written := 0
	update := func(ctx context.Context) error {
		written++
		_, err := conn.Exec(ctx, "UPDATE "+synced+" SET title = $1 WHERE note_id = 1", strconv.Itoa(written))
		return err
	}
	say := func(context.Context) error { _, err := front.order(orderSay); return err }
	var comparisons []Comparison
	for _, n := range b.Size.Watchers {
		// What it takes to tell them is measured with the same who are idle.
		var subject, limit *Trial
		comparisons = append(comparisons, Comparison{
			Variant: plural(n, "device") + ", memory of each", Metric: memoryEach, LimitName: "goroutine and socket",
			Subject: func(ctx context.Context, t *Trial) error {
				subject = t
				return crowdOf(ctx, t, front, n, func() (*watchers, error) { return device.watch(ctx, n) }, update)
			},
			Limit: func(ctx context.Context, t *Trial) error {
				limit = t
				return crowdOf(ctx, t, front, n, func() (*watchers, error) { return openWatchers(ctx, sockets, n, "", "said", "said") }, say)
			},
		}, Comparison{
			Variant: plural(n, "device") + ", telling all", Metric: Latency, LimitName: "writing to each",
			Subject: func(_ context.Context, t *Trial) error { *t = *subject; return nil },
			Limit:   func(_ context.Context, t *Trial) error { *t = *limit; return nil },
		})
	}
	return b.Compare(ctx, comparisons...)
}

// crowdOf watchers is idle at first, then told a few times.
func crowdOf(ctx context.Context, t *Trial, front *front, n int, open func() (*watchers, error), tell func(context.Context) error) (err error) {
	t.Front = front
	before, err := front.settled()
	if err != nil {
		return err
	}
	w, err := open()
	if err != nil {
		return err
	}
	defer func() {
		w.close()
		if _, hung := front.order(orderHangUp); err == nil {
			err = hung
		}
	}()
	after, err := front.order(orderHeld)
	if err != nil {
		return err
	}
	t.Value = float64(max(1, after-before)) / float64(n)
	return t.Measure(ctx, func() error {
		for range 5 {
			began := time.Now()
			if err := tell(ctx); err != nil {
				return err
			}
			last, err := w.wait(ctx)
			if err != nil {
				return err
			}
			t.Latencies = append(t.Latencies, last.at.Sub(began))
			t.Rows += int64(n)
		}
		return nil
	})
}

// settled is what the front holds when those who watched before are gone.
func (f *front) settled() (int64, error) {
	for before := int64(math.MaxInt64); ; time.Sleep(20 * time.Millisecond) {
		now, err := f.order(orderHeld)
		if err != nil || now > before-before/100 {
			return now, err
		}
		before = now
	}
}
