package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/jackc/pgx/v5"
)

// Trial is one run of one contender. What it does outside of Measure costs nothing.
type Trial struct {
	// Warmup runs are not counted, and may be shorter.
	Warmup bool
	// Rows handled in Measure, and their bytes where these are known.
	Rows, Bytes int64
	// Latencies of single operations, where there are any.
	Latencies []time.Duration
	// Value is for a Metric that is neither a rate nor a latency.
	Value float64

	// Front is what is measured, if it is an HTTP front: then what this program allocates is the load's.
	Front *front

	observer   *pgx.Conn
	processes  *processes
	elapsed    time.Duration
	wal, alloc int64
}

// of does the run.
func (t *Trial) of(ctx context.Context, run Contender) error {
	err := run(ctx, t)
	if t.processes == nil {
		return errors.Join(err, errors.New("nothing was measured"))
	}
	t.processes.close()
	return err
}

// Measure runs f, and adds what it took: time, WAL of the server, memory. It may be called repeatedly.
func (t *Trial) Measure(ctx context.Context, f func() error) error {
	if t.processes == nil {
		// Garbage of the run before is neither collected in this one nor part of its peak.
		debug.FreeOSMemory()
		if t.Front != nil {
			if _, err := t.Front.order(orderCollect); err != nil {
				return err
			}
		}
		var err error
		if t.processes, err = watchProcesses(ctx, t.observer, t.Front); err != nil {
			return err
		}
	}
	walBefore, err := walPosition(ctx, t.observer)
	if err != nil {
		return err
	}
	allocBefore, err := t.allocated()
	if err != nil {
		return err
	}
	stop := t.processes.sample()
	began := time.Now()
	err = f()
	t.elapsed += time.Since(began)
	stop()
	if err != nil {
		return err
	}
	allocAfter, err := t.allocated()
	t.alloc += allocAfter - allocBefore
	if err != nil {
		return err
	}
	walAfter, err := walPosition(ctx, t.observer)
	t.wal += walAfter - walBefore
	return err
}

// walPosition counts what is not written out yet too: an asynchronous commit leaves it to others.
func walPosition(ctx context.Context, conn *pgx.Conn) (position int64, err error) {
	err = conn.QueryRow(ctx, "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").Scan(&position)
	if err != nil {
		return 0, fmt.Errorf("read the WAL position: %w", err)
	}
	return position, nil
}

// allocated is what the front ever allocated, or this program where there is none, in bytes.
func (t *Trial) allocated() (int64, error) {
	if t.Front != nil {
		return t.Front.order(orderAllocated)
	}
	return int64(allocated()), nil
}

// allocated is what this program ever allocated, in bytes.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// held is what objects and stacks of this program take, without garbage.
func held() int64 {
	runtime.GC() // what pools keep goes with the second collection
	runtime.GC()
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}
