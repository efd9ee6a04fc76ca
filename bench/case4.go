package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func init() {
	register(Case{
		Number: 4,
		Title:  "push in one request over HTTP, until it is sealed and answered, for a fixed time; p50 and p99 are of one push",
		Limit:  "the same rows, captured, by one statement over the same JSON, and its commit",
		Run:    pushing,
	})
}

func pushing(ctx context.Context, b *Bench) error {
	p := &pushes{b: b}
	for _, d := range []**Database{&p.database, &p.plain} {
		var err error
		if *d, err = b.Database(ctx); err != nil {
			return err
		}
		if err := createNotes(ctx, *d); err != nil {
			return err
		}
	}
	var err error
	if p.front, err = p.database.Front(ctx); err != nil {
		return err
	}
	var comparisons []Comparison
	for _, v := range []struct {
		mix        mix
		users, per int
		suffix     string
	}{
		{mix{insert: 1}, 1, 1, ""},
		{mix{insert: 1}, 1, 10, ""},
		{mix{insert: 1}, 1, 100, ""},
		{mix{insert: 1}, 1, 1000, ""},
		{mix{insert: 1}, 1, 10_000, ""},
		{mix{insert: 1}, 16, 10, ""},
		{mix{insert: 1}, 1, 1, ofManyBuckets},
		{mix{insert: 1}, 1, 1000, ofManyBuckets},
		{mix{update: 1}, 1, 1, ""},
		{mix{update: 1}, 1, 1000, ""},
		{mix{delete: 1}, 1, 1000, ""},
		{mix{insert: 0.4, update: 0.4, delete: 0.2}, 1, 100, ""},
		{mix{insert: 0.4, update: 0.4, delete: 0.2, conflict: 5}, 1, 100, ", every fifth in conflict first"},
	} {
		name := fmt.Sprintf("%s, %s, bundles of %s%s", v.mix, plural(v.users, "user"), plural(v.per, "row"), v.suffix)
		c, err := p.comparison(ctx, name, v.mix, v.users, v.per, v.suffix == ofManyBuckets)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		comparisons = append(comparisons, c)
	}
	for _, d := range []*Database{p.database, p.plain} {
		if err := d.Settle(ctx); err != nil {
			return err
		}
	}
	return b.Compare(ctx, comparisons...)
}

// pushes go to one database over HTTP, and to another one, which nobody seals meanwhile, as statements.
type pushes struct {
	b               *Bench
	front           *front
	database, plain *Database
	lastID          atomic.Int64
	lastUser        int64
}

// ofManyBuckets is said of a device that gets the rows of its push from all of them, as those of client/ do.
const ofManyBuckets = ", a device that reads many buckets"

// preloaded rows of each user are there to be updated and deleted.
const preloaded = 5000

// comparison of as many users, each with rows of his own.
func (p *pushes) comparison(ctx context.Context, name string, m mix, users, per int, many bool) (Comparison, error) {
	var subject, limit []*pusher
	for range users {
		user, err := p.user(ctx, m, per)
		if err == nil && many {
			err = user.to.(*device).connect(ctx, true)
		}
		if err != nil {
			return Comparison{}, err
		}
		conn, err := p.plain.Session(ctx)
		if err != nil {
			return Comparison{}, err
		}
		subject = append(subject, user)
		limit = append(limit, &pusher{to: &statements{conn: conn.PgConn(), owner: p.lastUser}, mix: m, per: per, lastID: &p.lastID})
	}
	for _, u := range append(subject, limit...) {
		if m.insert == 1 {
			continue
		}
		if err := u.preload(ctx); err != nil {
			return Comparison{}, err
		}
	}
	return Comparison{
		Variant:   name,
		Subject:   p.run(subject, p.front),
		Limit:     p.run(limit, nil),
		LimitName: "one statement over the same JSON",
	}, nil
}

// user who pushes bundles of so many rows.
func (p *pushes) user(ctx context.Context, m mix, per int) (*pusher, error) {
	p.lastUser++
	device, err := p.front.Device(ctx, strconv.FormatInt(p.lastUser, 10), "bench")
	if err != nil {
		return nil, err
	}
	return &pusher{to: device, mix: m, per: per, lastID: &p.lastID}, nil
}

// run has all users push one bundle after the other, until the time is up.
func (p *pushes) run(users []*pusher, front *front) Contender {
	return func(ctx context.Context, t *Trial) error {
		t.Front = front
		for _, u := range users {
			if err := u.prepare(ctx); err != nil {
				return err
			}
		}
		duration := p.b.Size.Duration
		if t.Warmup {
			duration /= 2
		}
		errs := make([]error, len(users))
		err := t.Measure(ctx, func() error {
			deadline := time.Now().Add(duration)
			var group sync.WaitGroup
			for i, u := range users {
				group.Go(func() { errs[i] = u.until(ctx, deadline) })
			}
			group.Wait()
			return errors.Join(errs...)
		})
		for _, u := range users {
			t.Rows += u.rows
			t.Bytes += u.bytes
			t.Latencies = append(t.Latencies, u.latencies...)
		}
		return err
	}
}
