// Package sealer keeps the log sealed. The sealing itself is tide.seal() in the database; any number
// of processes may run this, and one of them seals at a time.
package sealer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// Config says how often to seal. The zero value works.
type Config struct {
	// Interval between two seals that found something. Defaults to 100 ms.
	Interval time.Duration
	// IdleInterval is what the interval grows to while nothing is written. Defaults to ten times Interval.
	IdleInterval time.Duration
	// Eager says whether somebody waits for what is written. Defaults to nobody.
	Eager func() bool
	// EagerInterval is the interval while somebody does. Defaults to 5 ms.
	EagerInterval time.Duration
	// CleanInterval is how often expired sessions of devices are ended. Defaults to 10 seconds.
	CleanInterval time.Duration
	// MaintainInterval is how often partitions and capture functions are looked after. Defaults to 1 minute.
	MaintainInterval time.Duration
	// Logger gets what went wrong and what maintenance did. Defaults to discarding it.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Interval <= 0 {
		c.Interval = 100 * time.Millisecond
	}
	if c.IdleInterval < c.Interval {
		c.IdleInterval = 10 * c.Interval
	}
	if c.Eager == nil {
		c.Eager = func() bool { return false }
	}
	if c.EagerInterval <= 0 {
		c.EagerInterval = 5 * time.Millisecond
	}
	if c.CleanInterval <= 0 {
		c.CleanInterval = 10 * time.Second
	}
	if c.MaintainInterval <= 0 {
		c.MaintainInterval = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Seal seals all that is committed now, in as many steps as that takes, and returns the last bundle_id.
func Seal(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	for {
		var last int64
		var inProgress bool
		var batch pgx.Batch
		batch.Queue(db.Seal).QueryRow(func(row pgx.Row) error { return row.Scan(&last) })
		batch.Queue(db.SealInProgress).QueryRow(func(row pgx.Row) error { return row.Scan(&inProgress) })
		if err := pool.SendBatch(ctx, &batch).Close(); err != nil {
			return 0, fmt.Errorf("seal: %w", err)
		}
		if !inProgress {
			return last, nil
		}
	}
}

// Run seals until ctx ends, and returns nil then. It rides out lost connections and restarts of the
// server; an error is returned only when trying again cannot help.
func Run(ctx context.Context, pool *pgxpool.Pool, config Config) error {
	return NewGroup(pool).Run(ctx, config)
}

// Run is the same for a process in which others wait for seals: they share those of the duty.
func (g *Group) Run(ctx context.Context, config Config) error {
	config = config.withDefaults()
	ctx, end := context.WithCancel(ctx)
	defer end()
	// Beside sealing: maintenance may wait for locks of readers.
	var house error
	var beside sync.WaitGroup
	beside.Go(func() {
		defer end()
		house = g.keepHouse(ctx, config)
	})
	err := g.keepSealed(ctx, config)
	end()
	beside.Wait()
	return cmp.Or(err, house)
}

func (g *Group) keepSealed(ctx context.Context, config Config) error {
	var last int64
	var committed string
	wait := config.Interval
	return g.again(ctx, config, "sealing", func() (time.Duration, error) {
		now, err := g.sealNew(ctx, last, &committed)
		if err != nil {
			return 0, err
		}
		if now != last {
			wait = config.Interval
			last = now
		} else {
			wait = min(wait+wait/2, config.IdleInterval)
		}
		if config.Eager() {
			return min(wait, config.EagerInterval), nil
		}
		return wait, nil
	})
}

// keepHouse does the duties that are not sealing, each at its own interval.
func (g *Group) keepHouse(ctx context.Context, config Config) error {
	duties := []*duty{{task: "clean", every: config.CleanInterval, do: clean}, {task: "maintain", every: config.MaintainInterval, do: maintain}}
	return g.again(ctx, config, "maintenance", func() (time.Duration, error) {
		for _, d := range duties {
			if err := d.run(ctx, g, config.Logger); err != nil {
				return 0, err
			}
		}
		return min(config.CleanInterval, config.MaintainInterval), nil
	})
}

// again does something until ctx ends, after the waits that it asks for, or longer ones while it fails.
// It returns an error when trying again cannot help.
func (g *Group) again(ctx context.Context, config Config, what string, do func() (time.Duration, error)) error {
	retry := backoff.NewExponentialBackOff(backoff.WithInitialInterval(config.Interval), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	for {
		wait, err := do()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !retryable(err):
			return err
		case err != nil:
			wait = retry.NextBackOff()
			if wire.ReadOnly(err) {
				g.pool.Reset()
			}
			config.Logger.WarnContext(ctx, what+" failed, trying again", slog.Any("error", err), slog.Duration("in", wait))
		default:
			retry.Reset()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// sealNew seals if anything was committed since it last did, and returns the last bundle_id. Looking costs
// less than a seal that finds nothing.
func (g *Group) sealNew(ctx context.Context, last int64, committed *string) (int64, error) {
	now, err := db.New(g.pool).Committed(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for what was committed: %w", err)
	}
	if now == *committed {
		g.last.Store(time.Now().UnixNano())
		return last, nil
	}
	if last, err = g.Seal(ctx); err == nil {
		*committed = now
	}
	return last, err
}

// duty is what the sealing process does beside sealing.
type duty struct {
	task  string
	every time.Duration
	do    func(context.Context, *pgxpool.Pool, *slog.Logger) error
	last  time.Time
}

func (d *duty) run(ctx context.Context, g *Group, logger *slog.Logger) error {
	if time.Since(d.last) < d.every {
		return nil
	}
	d.last = time.Now()
	return g.observed(d.task, func() error { return d.do(ctx, g.pool, logger) })
}

func clean(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) error {
	ended, err := db.New(pool).CleanSessions(ctx)
	if err != nil {
		return fmt.Errorf("clean sessions: %w", err)
	}
	if ended > 0 {
		logger.InfoContext(ctx, "ended expired sessions", slog.Int64("sessions", ended))
	}
	return nil
}

func maintain(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) error {
	done, err := db.New(pool).Maintain(ctx)
	if err != nil {
		return fmt.Errorf("maintain: %w", err)
	}
	for _, what := range done {
		logger.InfoContext(ctx, "maintained the log", slog.String("what", what))
	}
	return nil
}

// retryable tells a passing trouble from one that stays: pgtide is not installed, a privilege is
// missing, or the log refuses to be sealed (class TD).
func retryable(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return true
	}
	switch pgErr.Code[:2] {
	case "28", "3D", "3F", "42", "TD":
		return false
	}
	return true
}
