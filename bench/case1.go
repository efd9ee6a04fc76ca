package main

import (
	"context"
	"fmt"
	"sync/atomic"
)

func init() {
	register(Case{
		Number: 1,
		Title:  "plain OLTP: transactions of one single-row statement, prepared, for a fixed time",
		Limit:  "the same table without triggers",
		Run:    plainOLTP,
	})
}

func plainOLTP(ctx context.Context, b *Bench) error {
	d, err := b.Database(ctx)
	if err != nil {
		return err
	}
	if err := createNotes(ctx, d); err != nil {
		return err
	}
	const preloaded = 16_000
	for _, table := range []string{synced, bare} {
		if _, err := d.Exec(ctx, insertNotes(table, 1, preloaded, owners)); err != nil {
			return fmt.Errorf("fill %s: %w", table, err)
		}
	}
	if err := d.Settle(ctx); err != nil {
		return err
	}
	var nextID atomic.Int64
	nextID.Store(preloaded)
	var comparisons []Comparison
	for _, synchronousCommit := range []string{"on", "off"} {
		for _, sessions := range []int{1, 8} {
			subject, err := openWriters(ctx, d, synced, sessions, synchronousCommit, &nextID, preloaded)
			if err != nil {
				return err
			}
			limit, err := openWriters(ctx, d, bare, sessions, synchronousCommit, &nextID, preloaded)
			if err != nil {
				return err
			}
			for _, kind := range []string{"insert", "update"} {
				comparisons = append(comparisons, Comparison{
					Variant:   fmt.Sprintf("%s, %s, synchronous_commit %s", kind, plural(sessions, "session"), synchronousCommit),
					Subject:   b.forATime(subject, kind),
					Limit:     b.forATime(limit, kind),
					LimitName: "without triggers",
				})
			}
		}
	}
	return b.Compare(ctx, comparisons...)
}

func (b *Bench) forATime(w *writers, kind string) Contender {
	op := map[string]operation{"insert": w.insert, "update": w.update}[kind]
	return func(ctx context.Context, t *Trial) error {
		duration := b.Size.Duration
		if t.Warmup {
			duration /= 2
		}
		return w.write(ctx, t, op, 0, duration)
	}
}
