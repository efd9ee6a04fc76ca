package main

import (
	"fmt"
	"strings"
	"time"
)

// Size says how much a run does.
type Size struct {
	Name string
	// Warmups are rounds that are not counted; Rounds are those that are.
	Warmups, Rounds int
	// Duration of one run of a variant that writes for a fixed time.
	Duration time.Duration
	// Rows of one run of a variant that handles a fixed number.
	Rows int
	// OtherRows lie in the log besides those that are read.
	OtherRows int
	// SnapshotRows are what a snapshot has, one after the other.
	SnapshotRows []int
	// Watchers are how many devices watch, one after the other.
	Watchers []int
	// LogRows and Users lie behind what a device asks for, one after the other, the fewest first.
	LogRows, Users []int
}

var sizes = []Size{
	{Name: "small", Warmups: 1, Rounds: 2, Duration: 200 * time.Millisecond, Rows: 5_000, OtherRows: 20_000, SnapshotRows: []int{5_000}, Watchers: []int{1, 100}, LogRows: []int{1_000, 20_000}, Users: []int{10, 1000}},
	{Name: "default", Warmups: 1, Rounds: 3, Duration: 500 * time.Millisecond, Rows: 100_000, OtherRows: 400_000, SnapshotRows: []int{100_000}, Watchers: []int{1, 1000, 10_000}, LogRows: []int{100_000, 1_000_000}, Users: []int{10, 100_000}},
	{Name: "large", Warmups: 1, Rounds: 5, Duration: 5 * time.Second, Rows: 100_000, OtherRows: 10_000_000, SnapshotRows: []int{100_000, 1_000_000}, Watchers: []int{1, 1000, 10_000}, LogRows: []int{100_000, 1_000_000, 10_000_000}, Users: []int{10, 1000, 100_000}},
}

func sizeNamed(name string) (Size, error) {
	var names []string
	for _, s := range sizes {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Size{}, fmt.Errorf("there is no size %q: use %s", name, strings.Join(names, ", "))
}
