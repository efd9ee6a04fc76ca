package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Case is one part of the benchmark. Each lies in a file of its own, which registers it.
type Case struct {
	// Number is that of docs/performance.md. Several cases may share one.
	Number int
	Title  string
	// Limit says what it is held against.
	Limit string
	// Run makes what it needs and calls Compare, once or more often.
	Run func(ctx context.Context, b *Bench) error
}

var registered []Case

// register is called by init of the file of each case.
func register(c Case) { registered = append(registered, c) }

// casesNamed takes numbers separated by commas; none means all.
func casesNamed(numbers string) ([]Case, error) {
	all := slices.Clone(registered)
	slices.SortStableFunc(all, func(a, b Case) int { return cmp.Compare(a.Number, b.Number) })
	if numbers == "" {
		return all, nil
	}
	var chosen []Case
	for text := range strings.SplitSeq(numbers, ",") {
		number, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("case %q is not a number: write 1,2", text)
		}
		found := false
		for _, c := range all {
			if c.Number == number {
				chosen, found = append(chosen, c), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no case %d", number)
		}
	}
	return chosen, nil
}

// Metric is the figure that a comparison is about.
type Metric struct {
	Unit          string
	LowerIsBetter bool
	Of            func(*Trial) float64
}

// RowsPerSecond is the metric of a Comparison that names none.
var RowsPerSecond = Metric{Unit: "rows/s", Of: func(t *Trial) float64 { return per(float64(t.Rows), t.elapsed.Seconds()) }}

// Latency is the median of a run's latencies.
var Latency = Metric{Unit: "ms", LowerIsBetter: true, Of: func(t *Trial) float64 { return median(milliseconds(t.Latencies)) }}

// ratio to the limit: 1 at the limit, 0.5 at half of its speed.
func (m Metric) ratio(figure, limit float64) float64 {
	if m.LowerIsBetter {
		return per(limit, figure)
	}
	return per(figure, limit)
}

// Contender does one run: it prepares, does what is measured within Trial.Measure, and says how
// many rows that were.
type Contender func(ctx context.Context, t *Trial) error

// Comparison holds something against the limit of it, measured in turns.
type Comparison struct {
	// Variant tells it from the others of the case, and from one run of the benchmark to the next.
	Variant string
	Subject Contender
	// Limit may be nil where there is nothing to hold it against.
	Limit     Contender
	LimitName string
	// LimitFirst is for a limit that produces what the subject works on. Otherwise they take turns in
	// being first.
	LimitFirst bool
	// Metric defaults to RowsPerSecond.
	Metric Metric
	// After cleans up after both, in each round.
	After func(ctx context.Context) error
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func milliseconds(durations []time.Duration) []float64 {
	values := make([]float64, len(durations))
	for i, d := range durations {
		values[i] = float64(d) / float64(time.Millisecond)
	}
	return values
}
