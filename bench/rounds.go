package main

import (
	"context"
	"fmt"
	"slices"
)

// Compare runs the comparisons round by round, so that what changes on the machine meanwhile meets
// all of them, and keeps the results.
func (b *Bench) Compare(ctx context.Context, comparisons ...Comparison) error {
	if b.Only != nil {
		comparisons = slices.DeleteFunc(comparisons, func(c Comparison) bool { return !b.Only.MatchString(c.Variant) })
	}
	if len(comparisons) == 0 {
		return nil
	}
	// A checkpoint makes the first change of each page write the page into the WAL. That is the warm-up's to pay.
	if _, err := b.observer.Exec(ctx, "CHECKPOINT"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	runs := make([]runs, len(comparisons))
	for round := range b.Size.Warmups + b.Size.Rounds {
		warmup := round < b.Size.Warmups
		for i, c := range comparisons {
			if err := b.round(ctx, c, round+i, warmup, &runs[i]); err != nil {
				return fmt.Errorf("%s: %w", c.Variant, err)
			}
		}
	}
	for i, c := range comparisons {
		b.results = append(b.results, c.result(b.current.Number, &runs[i]))
	}
	return nil
}

// runs of one comparison, parallel by round.
type runs struct {
	subject, limit []*Trial
}

func (b *Bench) round(ctx context.Context, c Comparison, turn int, warmup bool, kept *runs) error {
	sides := []struct {
		run  Contender
		kept *[]*Trial
		name string
	}{{c.Subject, &kept.subject, "subject"}, {c.Limit, &kept.limit, "limit"}}
	if c.LimitFirst || turn%2 == 1 {
		sides[0], sides[1] = sides[1], sides[0]
	}
	for _, side := range sides {
		if side.run == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		t := &Trial{Warmup: warmup, observer: b.observer}
		if err := t.of(ctx, side.run); err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		b.progress(c, side.name, t)
		if !warmup {
			*side.kept = append(*side.kept, t)
		}
	}
	if c.After == nil {
		return nil
	}
	if err := c.After(ctx); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

func (c Comparison) metric() Metric {
	if c.Metric.Of == nil {
		return RowsPerSecond
	}
	return c.Metric
}

func (c Comparison) result(number int, r *runs) Result {
	m := c.metric()
	result := Result{Case: number, Variant: c.Variant, Unit: m.Unit, LowerIsBetter: m.LowerIsBetter, Subject: measured(m, r.subject)}
	if c.Limit == nil {
		return result
	}
	limit := measured(m, r.limit)
	result.Limit, result.LimitName = &limit, c.LimitName
	var ratios []float64
	for i := range r.subject {
		ratios = append(ratios, m.ratio(m.Of(r.subject[i]), m.Of(r.limit[i])))
	}
	ratio := summarize(ratios)
	result.Ratio = &ratio
	return result
}

func measured(m Metric, trials []*Trial) Side {
	var s Side
	var figures, rates, byteRates, seconds, wal, alloc, latencies, serverTime, goTime []float64
	for _, t := range trials {
		rows, took := float64(t.Rows), t.elapsed.Seconds()
		figures = append(figures, m.Of(t))
		rates = append(rates, per(rows, took))
		byteRates = append(byteRates, per(float64(t.Bytes), took))
		seconds = append(seconds, took)
		wal = append(wal, per(float64(t.wal), rows))
		alloc = append(alloc, per(float64(t.alloc), rows))
		serverTime = append(serverTime, per(microseconds(t.processes.serverTime), rows))
		goTime = append(goTime, per(microseconds(t.processes.goTime), rows))
		latencies = append(latencies, milliseconds(t.Latencies)...)
		peak, private := t.processes.ofBackends()
		s.BackendPeakBytes = max(s.BackendPeakBytes, peak)
		s.BackendPrivateBytes = max(s.BackendPrivateBytes, private)
		s.ProgramPeakBytes = max(s.ProgramPeakBytes, t.processes.ofProgram())
		s.FrontPeakBytes = max(s.FrontPeakBytes, t.processes.ofFront())
		s.Rows = t.Rows
	}
	s.Figure = summarize(figures)
	s.Runs = len(trials)
	s.Seconds = median(seconds)
	s.RowsPerSecond = median(rates)
	s.BytesPerSecond = median(byteRates)
	s.WALBytesPerRow = median(wal)
	s.GoBytesPerRow = median(alloc)
	s.ServerMicrosecondsPerRow = median(serverTime)
	s.GoMicrosecondsPerRow = median(goTime)
	s.P50Milliseconds = quantile(latencies, 0.5)
	s.P99Milliseconds = quantile(latencies, 0.99)
	return s
}
