package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// noticeable is the change of a median that is worth a word when the runs do not overlap either.
const noticeable = 0.05

// Change of one comparison since the baseline.
type Change struct {
	Before, Now *Result
	// Verdict is "faster", "slower", "" when the runs overlap, "new" or "gone".
	Verdict string
}

// changes since a baseline: of what ran now, and what a case that ran lost. On another machine only
// ratios can be compared.
func changes(before, now *Report) []Change {
	figures := before.Machine.same(now.Machine)
	var found []Change
	ran := map[int]bool{}
	for i := range now.Results {
		r := &now.Results[i]
		ran[r.Case] = true
		change := Change{Now: r, Verdict: "new"}
		if older := find(before.Results, *r); older != nil {
			change.Before = older
			change.Verdict = verdict(*older, *r, figures)
		}
		found = append(found, change)
	}
	for i := range before.Results {
		if r := &before.Results[i]; ran[r.Case] && find(now.Results, *r) == nil {
			found = append(found, Change{Before: r, Verdict: "gone"})
		}
	}
	return found
}

func find(results []Result, wanted Result) *Result {
	for i := range results {
		if results[i].same(wanted) {
			return &results[i]
		}
	}
	return nil
}

// verdict goes by the ratio to the limit, which was measured in the same minutes; the figure itself
// moves with the machine.
func verdict(before, now Result, figures bool) string {
	a, b, lowerIsBetter := before.Subject.Figure, now.Subject.Figure, now.LowerIsBetter
	switch {
	case before.Unit != now.Unit:
		return "other unit"
	case before.Ratio != nil && now.Ratio != nil:
		a, b, lowerIsBetter = *before.Ratio, *now.Ratio, false
	case !figures:
		return ""
	}
	change := per(b.Median-a.Median, a.Median)
	switch {
	case a.overlaps(b) || change > -noticeable && change < noticeable:
		return ""
	case (change > 0) != lowerIsBetter:
		return "faster"
	}
	return "slower"
}

func writeChanges(w io.Writer, path string, before, now *Report) error {
	fmt.Fprintf(w, "\nsince %s (%s, size %s, %s)\n", path, before.Commit, before.Size, before.StartedAt.Format("2006-01-02"))
	if before.Size != now.Size {
		fmt.Fprintf(w, "it is of size %s, this run of size %s: not compared\n", before.Size, now.Size)
		return nil
	}
	if !before.Machine.same(now.Machine) {
		fmt.Fprintf(w, "it is of another machine or other settings (%s): only ratios count\n", before.Machine)
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "case\tvariant\tfigure\tchange\tratio\tWAL B/row\tGo B/row\t")
	for _, c := range changes(before, now) {
		switch {
		case c.Before == nil:
			fmt.Fprintf(table, "%d\t%s\t%s\t\t%s\t\t\t%s\n", c.Now.Case, c.Now.Variant, figure(*c.Now), ratioOf(*c.Now), c.Verdict)
		case c.Now == nil:
			fmt.Fprintf(table, "%d\t%s\t%s\t\t%s\t\t\t%s\n", c.Before.Case, c.Before.Variant, figure(*c.Before), ratioOf(*c.Before), c.Verdict)
		default:
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Now.Case, c.Now.Variant,
				arrow(figure(*c.Before), figure(*c.Now)), percent(c.Before.Subject.Figure.Median, c.Now.Subject.Figure.Median),
				arrow(ratioOf(*c.Before), ratioOf(*c.Now)),
				arrow(number(c.Before.Subject.WALBytesPerRow), number(c.Now.Subject.WALBytesPerRow)),
				arrow(number(c.Before.Subject.GoBytesPerRow), number(c.Now.Subject.GoBytesPerRow)), c.Verdict)
		}
	}
	return table.Flush()
}

func figure(r Result) string { return number(r.Subject.Figure.Median) + " " + r.Unit }

func ratioOf(r Result) string {
	if r.Ratio == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", r.Ratio.Median)
}

func arrow(before, now string) string {
	if before == now {
		return now
	}
	return before + " → " + now
}

func percent(before, now float64) string {
	if before == 0 {
		return ""
	}
	return fmt.Sprintf("%+.0f %%", 100*(now-before)/before)
}
