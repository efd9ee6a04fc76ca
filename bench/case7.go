package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

func init() {
	register(Case{
		Number: 7,
		Title:  "how soon a device hears of a change, from the request that made it; idle, and beside pushes at half of the rate that 16 users reach",
		Limit:  "one UPDATE of one row and its commit, in one round trip, at the same load",
		Run:    latencies,
	})
}

func latencies(ctx context.Context, b *Bench) error {
	d, err := b.Database(ctx)
	if err != nil {
		return err
	}
	if err := createNotes(ctx, d); err != nil {
		return err
	}
	p := &pushes{b: b, database: d, plain: d}
	if p.front, err = d.Front(ctx); err != nil {
		return err
	}
	h := &hearing{b: b, front: p.front}
	if h.conn, err = d.Session(ctx); err != nil {
		return err
	}
	if _, err := d.Exec(ctx, fmt.Sprintf("INSERT INTO %[1]s SELECT %[3]s; INSERT INTO %[2]s SELECT %[3]s", synced, bare, fmt.Sprintf(noteRow, "1000000000", "1000000"))); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if h.writer, err = p.front.Device(ctx, "1000000", "writer"); err != nil {
		return err
	}
	if h.reader, err = p.front.Device(ctx, "1000000", "reader"); err != nil {
		return err
	}
	crowd, err := p.crowd(ctx)
	if err != nil {
		return err
	}
	if err := d.Settle(ctx); err != nil {
		return err
	}
	var comparisons []Comparison
	for _, beside := range []struct {
		name string
		load func(ctx context.Context) (stop func() error, err error)
	}{
		{"idle", idle},
		{"at half of the peak", crowd.halfOfPeak},
	} {
		limit := h.run(beside.load, h.update)
		for _, s := range []struct {
			name string
			once func(context.Context, *watchers) (time.Duration, error)
		}{
			{"push answered", h.pushAnswered},
			{"push to event", h.pushToEvent},
			{"psql to event", h.psqlToEvent},
			{"psql to event to row pulled", h.psqlToRow},
		} {
			comparisons = append(comparisons, Comparison{
				Variant: s.name + ", " + beside.name, Metric: Latency,
				Subject: h.run(beside.load, s.once),
				Limit:   limit, LimitName: "one UPDATE and its commit",
			})
		}
	}
	return b.Compare(ctx, comparisons...)
}

// idle is no load.
func idle(context.Context) (stop func() error, err error) { return func() error { return nil }, nil }

// hearing has one device write, and another one of the same user hear of it.
type hearing struct {
	b              *Bench
	front          *front
	writer, reader *device
	conn           *pgx.Conn
	updates        int
}

// run repeats something for a while, at moments that have nothing to do with those of sealing.
func (h *hearing) run(load func(context.Context) (func() error, error), once func(context.Context, *watchers) (time.Duration, error)) Contender {
	return func(ctx context.Context, t *Trial) error {
		t.Front = h.front
		w, err := h.reader.watch(ctx, 1)
		if err != nil {
			return err
		}
		defer w.close()
		// The first event shows that all is in motion.
		if _, err := h.psqlToEvent(ctx, w); err != nil {
			return err
		}
		stop, err := load(ctx)
		if err != nil {
			return err
		}
		err = t.Measure(ctx, func() error {
			for deadline := time.Now().Add(h.b.Size.Duration); time.Now().Before(deadline); t.Rows++ {
				time.Sleep(rand.N(20 * time.Millisecond))
				took, err := once(ctx, w)
				if err != nil {
					return err
				}
				t.Latencies = append(t.Latencies, took)
			}
			return nil
		})
		return errors.Join(err, stop())
	}
}

// row of a push or an update that is new each time.
func (h *hearing) row() []byte {
	h.updates++
	id := 2_000_000_000 + h.updates
	return fmt.Appendf(nil, `[{"schema":"bench","table":"note","key":{"note_id":"%[1]d"},"op":"INSERT","base_row_version":0,"payload":{"note_id":%[1]d,"title":"t","body":"b","amount":"1.00"}}]`, id)
}

func (h *hearing) push(ctx context.Context, w *watchers) (answered, heard time.Duration, err error) {
	row := h.row()
	began := time.Now()
	seq, accepted, err := h.writer.push(ctx, row)
	answered = time.Since(began)
	if err != nil || !accepted {
		return 0, 0, errors.Join(err, errors.New("a push was not accepted"))
	}
	event, err := w.wait(ctx)
	if err == nil && event.seq != seq {
		err = fmt.Errorf("heard of bundle %d after pushing %d", event.seq, seq)
	}
	return answered, event.at.Sub(began), err
}

func (h *hearing) pushAnswered(ctx context.Context, w *watchers) (time.Duration, error) {
	answered, _, err := h.push(ctx, w)
	return answered, err
}

func (h *hearing) pushToEvent(ctx context.Context, w *watchers) (time.Duration, error) {
	_, heard, err := h.push(ctx, w)
	return heard, err
}

// write as psql does, and return when it began and what was heard.
func (h *hearing) write(ctx context.Context, w *watchers) (began time.Time, event told, err error) {
	h.updates++
	began = time.Now()
	if _, err := h.conn.Exec(ctx, "UPDATE "+synced+" SET title = $1 WHERE note_id = 1000000000", strconv.Itoa(h.updates)); err != nil {
		return began, event, err
	}
	event, err = w.wait(ctx)
	return began, event, err
}

func (h *hearing) psqlToEvent(ctx context.Context, w *watchers) (time.Duration, error) {
	began, event, err := h.write(ctx, w)
	return event.at.Sub(began), err
}

func (h *hearing) psqlToRow(ctx context.Context, w *watchers) (time.Duration, error) {
	began, event, err := h.write(ctx, w)
	if err != nil {
		return 0, err
	}
	rows, last, _, err := h.reader.pull(ctx, event.seq-1, 0)
	if err == nil && (rows != 1 || last != event.seq) {
		err = fmt.Errorf("pulled %d rows up to bundle %d after hearing of %d", rows, last, event.seq)
	}
	return time.Since(began), err
}

// update is the limit.
func (h *hearing) update(ctx context.Context, _ *watchers) (time.Duration, error) {
	h.updates++
	began := time.Now()
	_, err := h.conn.Exec(ctx, "UPDATE "+bare+" SET title = $1 WHERE note_id = 1000000000", strconv.Itoa(h.updates))
	return time.Since(began), err
}

// crowd of users who push.
type crowd struct {
	users    []*pusher
	duration time.Duration
	peak     float64 // pushes a second, of all together
}

func (p *pushes) crowd(ctx context.Context) (*crowd, error) {
	c := &crowd{duration: p.b.Size.Duration}
	for range 16 {
		user, err := p.user(ctx, mix{insert: 1}, 10)
		if err != nil {
			return nil, err
		}
		c.users = append(c.users, user)
	}
	return c, nil
}

// push until stopped, each user at this interval or as fast as can be.
func (c *crowd) push(ctx context.Context, stopped <-chan struct{}, every time.Duration) (pushes int, err error) {
	counts, errs := make([]int, len(c.users)), make([]error, len(c.users))
	var group sync.WaitGroup
	for i, u := range c.users {
		group.Go(func() {
			next := time.NewTimer(rand.N(every + 1))
			defer next.Stop()
			for {
				select {
				case <-stopped:
					return
				case <-next.C:
				}
				next.Reset(every)
				if errs[i] = u.bundle(ctx); errs[i] != nil {
					return
				}
				counts[i]++
			}
		})
	}
	group.Wait()
	for _, n := range counts {
		pushes += n
	}
	return pushes, errors.Join(errs...)
}

// halfOfPeak is found out once, then kept up until stop.
func (c *crowd) halfOfPeak(ctx context.Context) (stop func() error, err error) {
	if c.peak == 0 {
		enough := make(chan struct{})
		time.AfterFunc(c.duration, func() { close(enough) })
		pushes, err := c.push(ctx, enough, 0)
		if err != nil {
			return nil, fmt.Errorf("find the peak: %w", err)
		}
		c.peak = max(1, float64(pushes)/c.duration.Seconds())
	}
	stopped, ended := make(chan struct{}), make(chan error, 1)
	every := time.Duration(float64(len(c.users)) / (c.peak / 2) * float64(time.Second))
	go func() {
		_, err := c.push(ctx, stopped, every)
		ended <- err
	}()
	return func() error {
		close(stopped)
		return <-ended
	}, nil
}
