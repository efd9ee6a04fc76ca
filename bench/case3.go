package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/runtime/sealer"
)

func init() {
	register(Case{
		Number: 3,
		Title:  "seal: rows per second; a row is a transaction where transactions have one row",
		Limit:  "the writers who produced these rows, in the same round",
		Run:    sealing,
	})
}

// sealingWriters is how many sessions produce transactions of one row, committing asynchronously.
const sealingWriters = 8

func sealing(ctx context.Context, b *Bench) error {
	d, err := b.Database(ctx)
	if err != nil {
		return err
	}
	if err := createNotes(ctx, d); err != nil {
		return err
	}
	s := sealed{Database: d, rows: b.Size.Rows}
	if s.writers, err = openWriters(ctx, d, synced, sealingWriters, "off", &s.nextID, 0); err != nil {
		return err
	}
	if s.bulk, err = d.Session(ctx, "synchronous_commit = off"); err != nil {
		return err
	}
	// A seal is planned by what is known of the log: not of an empty one.
	h := history{Database: d, conn: s.bulk}
	if err := h.write(ctx, 1, s.rows/10, 1, s.rows/10); err != nil {
		return err
	}
	if err := d.Settle(ctx); err != nil {
		return err
	}
	s.nextID.Store(h.nextID)
	comparisons := s.singles(s.rows, "")
	for _, buckets := range []int{1, s.rows / 10, s.rows} {
		comparisons = append(comparisons, s.oneTransaction(buckets))
	}
	if err := b.Compare(ctx, comparisons...); err != nil {
		return err
	}

	// A backup, a report, a forgotten psql: it has a snapshot that nothing is removed behind, and an id
	// that every seal from now on lists as in progress.
	held, err := d.Session(ctx)
	if err != nil {
		return err
	}
	for _, statement := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", insertNotes(synced, -1, -1, owners)} {
		if _, err := held.Exec(ctx, statement); err != nil {
			return fmt.Errorf("hold a transaction open: %w", err)
		}
	}
	return b.Compare(ctx, s.singles(s.rows/5, ", a transaction held open")...)
}

type sealed struct {
	*Database
	writers *writers
	bulk    *pgx.Conn
	rows    int
	nextID  atomic.Int64
}

// singles are transactions of one row: many for one seal, and few for each of many seals.
func (s *sealed) singles(rows int, suffix string) []Comparison {
	const perSeal = 100
	seals := s.rows / 10 / perSeal
	var small *Trial
	return []Comparison{{
		Variant:    fmt.Sprintf("%d one-row transactions in one seal%s", rows, suffix),
		LimitFirst: true,
		Limit: func(ctx context.Context, t *Trial) error {
			return s.writers.write(ctx, t, s.writers.insert, int64(warmedUp(t, rows)), 0)
		},
		LimitName: fmt.Sprintf("%d sessions writing them, synchronous_commit off", sealingWriters),
		Subject:   s.seal,
	}, {
		Variant:    fmt.Sprintf("%d seals of %d one-row transactions each%s", seals, perSeal, suffix),
		LimitFirst: true,
		// Writing and sealing take turns here, so one run of the limit does both.
		Limit: func(ctx context.Context, t *Trial) error {
			small = &Trial{Warmup: t.Warmup, observer: t.observer}
			for range seals {
				if err := s.writers.write(ctx, t, s.writers.insert, perSeal, 0); err != nil {
					return err
				}
				if err := s.seal(ctx, small); err != nil {
					return err
				}
			}
			return nil
		},
		LimitName: fmt.Sprintf("%d sessions writing them, synchronous_commit off", sealingWriters),
		Subject:   func(_ context.Context, t *Trial) error { *t = *small; return nil },
	}}
}

func (s *sealed) oneTransaction(buckets int) Comparison {
	return Comparison{
		Variant:    fmt.Sprintf("one transaction of %d rows over %s", s.rows, plural(buckets, "bucket")),
		LimitFirst: true,
		Limit: func(ctx context.Context, t *Trial) error {
			rows := int64(warmedUp(t, s.rows))
			last := s.nextID.Add(rows)
			return execMeasured(ctx, t, s.bulk, insertNotes(synced, last-rows+1, last, buckets))
		},
		LimitName: "the INSERT of them",
		Subject:   s.seal,
	}
}

// warmedUp is how many rows a run writes: the warm-up needs few.
func warmedUp(t *Trial, rows int) int {
	if t.Warmup {
		return rows / 10
	}
	return rows
}

// seal seals what there is, and checks that it was all.
func (s *sealed) seal(ctx context.Context, t *Trial) error {
	var unsealed, left int64
	const lag = "SELECT unsealed_changes FROM tide.lag"
	if err := s.QueryRow(ctx, lag).Scan(&unsealed); err != nil {
		return fmt.Errorf("count what is to be sealed: %w", err)
	}
	seconds := t.elapsed
	err := t.Measure(ctx, func() error {
		_, err := sealer.Seal(ctx, s.Pool)
		return err
	})
	if err != nil {
		return err
	}
	t.Rows += unsealed
	t.Latencies = append(t.Latencies, t.elapsed-seconds)
	if err := s.QueryRow(ctx, lag).Scan(&left); err != nil {
		return fmt.Errorf("count what is not sealed: %w", err)
	}
	if unsealed == 0 || left != 0 {
		return errors.New("the seal did not do what is measured: of " + plural(int(unsealed), "change") + " it left " + plural(int(left), "change"))
	}
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
