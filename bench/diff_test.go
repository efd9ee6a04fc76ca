package main

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// result of a comparison whose runs spread by 1 %.
func result(number int, variant string, figure, ratio float64) Result {
	r := Result{Case: number, Variant: variant, Unit: "rows/s", LimitName: "bare",
		Subject: Side{Figure: around(figure), Runs: 3, WALBytesPerRow: 100}, Limit: &Side{Figure: around(per(figure, ratio)), Runs: 3}}
	spread := around(ratio)
	r.Ratio = &spread
	return r
}

func around(value float64) Summary {
	return Summary{Median: value, Min: 0.99 * value, Max: 1.01 * value}
}

func report(results ...Result) *Report {
	return &Report{Commit: "abc1234", Size: "default", StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Machine: Machine{CPU: "one", Cores: 2, Settings: map[string]string{"fsync": "on"}}, Results: results}
}

func latency(figure float64) Result {
	r := result(7, "push", figure, 0)
	r.Unit, r.LowerIsBetter, r.Ratio, r.Limit = "ms", true, nil, nil
	return r
}

func TestVerdictGoesByTheRatio(t *testing.T) {
	t.Parallel()
	other := report(latency(5))
	other.Machine.CPU = "another"
	for name, test := range map[string]struct {
		before, now *Report
		want        string
	}{
		"the same":                               {report(result(1, "a", 1000, 0.5)), report(result(1, "a", 1000, 0.5)), ""},
		"a slower machine":                       {report(result(1, "a", 1000, 0.5)), report(result(1, "a", 400, 0.5)), ""},
		"slower than the limit was":              {report(result(1, "a", 1000, 0.5)), report(result(1, "a", 1000, 0.4)), "slower"},
		"faster":                                 {report(result(1, "a", 1000, 0.5)), report(result(1, "a", 1000, 0.6)), "faster"},
		"a little, without overlap":              {report(result(1, "a", 1000, 0.5)), report(result(1, "a", 1000, 0.52)), ""},
		"a latency without limit":                {report(latency(2)), report(latency(3)), "slower"},
		"a shorter one":                          {report(latency(3)), report(latency(2)), "faster"},
		"a latency, measured on another machine": {other, report(latency(9)), ""},
		"new":                                    {report(), report(result(1, "a", 1000, 0.5)), "new"},
		"of another case":                        {report(result(2, "a", 1000, 0.5)), report(result(1, "a", 1000, 0.5)), "new"},
	} {
		found := changes(test.before, test.now)
		if len(found) != 1 || found[0].Verdict != test.want {
			t.Errorf("%s: got %+v, want one change %q", name, found, test.want)
		}
	}
}

func TestWideRunsSayNothing(t *testing.T) {
	t.Parallel()
	before, now := result(1, "a", 1000, 0.5), result(1, "a", 1000, 0.3)
	now.Ratio.Max = 0.5
	if got := verdict(before, now, true); got != "" {
		t.Errorf("the runs overlap, the verdict is %q", got)
	}
}

func TestVariantsThatWentAwayAreNamed(t *testing.T) {
	t.Parallel()
	found := changes(report(result(1, "a", 1000, 0.5), result(1, "b", 1000, 0.5), result(2, "c", 1000, 0.5)), report(result(1, "a", 1000, 0.5)))
	var gone []string
	for _, c := range found {
		if c.Verdict == "gone" {
			gone = append(gone, c.Before.Variant)
		}
	}
	// Case 2 did not run, so nothing of it is missing.
	if !reflect.DeepEqual(gone, []string{"b"}) {
		t.Errorf("gone: %v, want b", gone)
	}
}

func TestComparisonAsPrinted(t *testing.T) {
	t.Parallel()
	before := report(result(1, "insert", 1000, 0.5), result(1, "old", 1000, 0.5))
	now := report(result(1, "insert", 2000, 0.8), result(1, "fresh", 10, 0.5))
	now.Results[0].Subject.WALBytesPerRow = 50
	var text strings.Builder
	if err := writeChanges(&text, "baseline.json", before, now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"since baseline.json (abc1234, size default, 2026-01-02)", "1,000 rows/s → 2,000 rows/s", "+100 %", "0.50 → 0.80", "100 → 50.0", "faster", "new", "gone"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, text.String())
		}
	}
	text.Reset()
	now.Size = "small"
	if err := writeChanges(&text, "baseline.json", before, now); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "not compared") || strings.Contains(text.String(), "insert") {
		t.Errorf("other sizes are compared:\n%s", text.String())
	}
}

func TestReportReadsBackAsWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "report.json")
	want := report(result(1, "a", 1234.5, 0.5), latency(2))
	if err := want.save(path); err != nil {
		t.Fatal(err)
	}
	got, err := loadReport(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestABaselineKeepsCasesThatDidNotRun(t *testing.T) {
	t.Parallel()
	older := report(result(1, "a", 1, 0.1), result(1, "gone", 1, 0.1), result(2, "b", 1, 0.1))
	got := report(result(1, "a", 9, 0.9)).over(older).Results
	if len(got) != 2 || got[0].Subject.Figure.Median != 9 || got[1].Variant != "b" {
		t.Errorf("got %+v, want the new case 1 and the old case 2", got)
	}
	older.Machine.Cores = 64
	if got := report(result(1, "a", 9, 0.9)).over(older).Results; len(got) != 1 {
		t.Errorf("figures of two machines are mixed: %+v", got)
	}
	if got := report(result(1, "a", 9, 0.9)).over(nil).Results; len(got) != 1 {
		t.Errorf("the first baseline has %d results", len(got))
	}
}
