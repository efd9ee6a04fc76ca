// Command bench measures pgtide against what PostgreSQL itself can do with the same rows, in the
// same run. docs/performance.md says what each case is and how to read the table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type options struct {
	cases, size, out, baseline string
	save                       bool
}

func main() {
	var o options
	flag.StringVar(&o.cases, "case", "", "numbers of the cases to run, separated by commas (default all)")
	flag.StringVar(&o.size, "size", "default", "small, default or large")
	flag.StringVar(&o.out, "out", "bin/bench.json", "where the figures are written")
	flag.StringVar(&o.baseline, "baseline", "bench/baseline.json", "figures to compare with, if the file is there")
	flag.BoolVar(&o.save, "save", false, "make these figures the baseline")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	size, err := sizeNamed(o.size)
	if err != nil {
		return err
	}
	cases, err := casesNamed(o.cases)
	if err != nil {
		return err
	}
	// Before the minutes of measuring, not after them.
	before, err := loadReport(o.baseline)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cluster, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer cluster.Remove()
	b, err := newBench(ctx, size, cluster.URL("postgres"), func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) })
	if err != nil {
		return err
	}
	report := &Report{Commit: commit(), Size: size.Name, StartedAt: time.Now().UTC().Truncate(time.Second)}
	if report.Machine, err = b.machine(ctx); err != nil {
		return err
	}
	began := time.Now()
	for _, c := range cases {
		first := len(b.results)
		if err := b.run(ctx, c); err != nil {
			return err
		}
		if err := writeTable(stdout, c, b.results[first:]); err != nil {
			return err
		}
	}
	report.Results, report.Seconds = b.results, time.Since(began).Round(time.Second).Seconds()
	fmt.Fprintf(stdout, "\n%s\nsize %s, %d rounds after %d to warm up, %.0f s\n", report.Machine, size.Name, size.Rounds, size.Warmups, report.Seconds)
	if before != nil {
		if err := writeChanges(stdout, o.baseline, before, report); err != nil {
			return err
		}
	}
	if err := report.save(o.out); err != nil {
		return err
	}
	if !o.save {
		return nil
	}
	return report.over(before).save(o.baseline)
}

func commit() string {
	text, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown" // outside of a checkout
	}
	return strings.TrimSpace(string(text))
}

// progress goes to where a person looks, not into the table.
func (b *Bench) progress(c Comparison, side string, t *Trial) {
	warmup := ""
	if t.Warmup {
		warmup = "  (warm-up)"
	}
	m := c.metric()
	b.log("  %-60s %-8s %12s %s%s", c.Variant, side, number(m.Of(t)), m.Unit, warmup)
}
