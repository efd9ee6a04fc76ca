package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/v1client"
)

// storm is everybody at once: the writers of the database, the reader, and the devices on a bad network.
func storm(ctx context.Context, database *pgxpool.Pool, global *reader, devices ...*device) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	writing, done := context.WithTimeout(ctx, stormy)
	defer done()
	var group sync.WaitGroup
	start := func(f func() error) {
		group.Go(func() {
			if err := f(); err != nil {
				cancel(err) // the first one counts
			}
		})
	}
	for _, w := range writerKinds {
		start(func() error { return w(writing, database) })
	}
	start(func() error { return global.follow(writing, database) })
	for _, d := range devices {
		start(func() error { return d.live(writing) })
	}
	group.Wait()
	return context.Cause(ctx)
}

// live edits while the device is offline, and exchanges when it is not; one answer in twenty gets lost.
func (d *device) live(ctx context.Context) error {
	d.network.Choose = func(v1client.Step, int) v1client.Fault {
		if rand.IntN(20) == 0 {
			return v1client.LoseResponse
		}
		return v1client.None
	}
	defer func() { d.network.Choose = nil }()
	return repeat(ctx, func(ctx context.Context) error {
		for range 1 + rand.IntN(3) {
			if err := d.edit(context.WithoutCancel(ctx)); err != nil {
				return err
			}
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		return d.sync(ctx)
	})
}

// settle lets everybody take what is there, when nobody writes any more.
func settle(ctx context.Context, database *pgxpool.Pool, global *reader, devices ...*device) error {
	// Bundles of the writers are sealed by the server; this one waits for the last of them.
	if _, err := database.Exec(ctx, `SELECT tide.seal()`); err != nil {
		return err
	}
	var failed error
	for range 2 { // what the last one pushes, the first one pulls
		for _, d := range devices {
			failed = errors.Join(failed, d.sync(ctx))
		}
	}
	return errors.Join(failed, global.pull(ctx, database))
}
