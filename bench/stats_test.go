package main

import (
	"slices"
	"testing"
	"time"
)

func TestMedianLiesBetweenTheTwoInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1}, 5}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		given := slices.Clone(test.values)
		if got := median(given); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.values, got, test.want)
		}
		if !slices.Equal(given, test.values) {
			t.Errorf("median changed the order of %v to %v", test.values, given)
		}
	}
}

func TestQuantileIsAValueThatOccurred(t *testing.T) {
	t.Parallel()
	var hundred []float64
	for i := 100; i >= 1; i-- {
		hundred = append(hundred, float64(i))
	}
	for _, test := range []struct {
		values  []float64
		q, want float64
	}{{nil, 0.5, 0}, {[]float64{3}, 0.99, 3}, {hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1}, {[]float64{1, 2, 3}, 0.99, 3}} {
		if got := quantile(test.values, test.q); got != test.want {
			t.Errorf("quantile %v of %d values is %v, want %v", test.q, len(test.values), got, test.want)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	if got, want := summarize([]float64{5, 1, 3}), (Summary{Median: 3, Min: 1, Max: 5}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := summarize(nil); got != (Summary{}) {
		t.Errorf("nothing was measured, got %v", got)
	}
	a := Summary{Min: 1, Max: 3}
	for other, want := range map[Summary]bool{{Min: 3, Max: 4}: true, {Min: 2, Max: 2}: true, {Min: 0, Max: 9}: true, {Min: 3.1, Max: 4}: false, {Min: 0, Max: 0.9}: false} {
		if a.overlaps(other) != want || other.overlaps(a) != want {
			t.Errorf("%v and %v: overlaps should be %v", a, other, want)
		}
	}
}

func TestRatioIsOneAtTheLimit(t *testing.T) {
	t.Parallel()
	if got := RowsPerSecond.ratio(50, 100); got != 0.5 {
		t.Errorf("half the rate of the limit is %v", got)
	}
	if got := Latency.ratio(4, 1); got != 0.25 {
		t.Errorf("four times the latency of the limit is %v", got)
	}
	if got := RowsPerSecond.ratio(50, 0); got != 0 {
		t.Errorf("without a limit the ratio is %v", got)
	}
}

func TestCPUTimeOfAProcess(t *testing.T) {
	t.Parallel()
	text := "4242 (a ) b) S 1 4242 4242 0 -1 4194560 7 0 0 0 120 35 0 0 20 0 1 0 100 1000 10"
	if got, want := parseCPUTime([]byte(text)), 1550*time.Millisecond; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, text := range []string{"", "4242 (a) S 1"} {
		if got := parseCPUTime([]byte(text)); got != 0 {
			t.Errorf("of %q: %s", text, got)
		}
	}
}

func TestRowsAreCountedWhereverTheyAreCut(t *testing.T) {
	t.Parallel()
	const text = `{"row_version":1}` + "\n" + `{"row_version":22,"payload":{"row_versio":"row_version"}}{"row_version":3}`
	for size := 1; size <= len(text); size++ {
		var c rowCounter
		for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
			if _, err := c.Write([]byte(rest[:min(size, len(rest))])); err != nil {
				t.Fatal(err)
			}
		}
		if c.rows != 3 || c.bytes != int64(len(text)) {
			t.Errorf("in pieces of %d: %d rows, %d bytes", size, c.rows, c.bytes)
		}
	}
}

func TestStatusOfAProcess(t *testing.T) {
	t.Parallel()
	text := "Name:\tpostgres\nVmHWM:\t  150432 kB\nVmRSS:\t  150000 kB\nRssAnon:\t    4096 kB\nThreads:\t1\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n"
	got := parseStatus([]byte(text))
	if want := (status{peak: 150432 << 10, private: 4 << 20, switches: 15}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := parseStatus(nil); got != (status{}) {
		t.Errorf("of a process that ended: %+v", got)
	}
}
