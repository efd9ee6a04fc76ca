package main

import (
	"math"
	"slices"
)

// Summary is how the runs of one thing spread.
type Summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// summarize is the zero Summary when there are no values.
func summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	return Summary{Median: median(values), Min: slices.Min(values), Max: slices.Max(values)}
}

func (s Summary) overlaps(other Summary) bool {
	return s.Min <= other.Max && other.Min <= s.Max
}

// median of an even number of values lies between the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// quantile is the smallest value that at least the share q of all values do not exceed: one that
// occurred, so that a p99 of few values is the largest and nothing between.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// per is 0 when there is nothing to divide by.
func per(total, parts float64) float64 {
	if parts == 0 {
		return 0
	}
	return total / parts
}
