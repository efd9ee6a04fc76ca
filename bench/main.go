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
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

type options struct {
	cases, only, size, out, baseline, profile string
	save                                      bool
	settings                                  map[string]string
}

func main() {
	if status, isFront := asFront(); isFront {
		os.Exit(status)
	}
	o := options{settings: maps.Clone(settings)}
	flag.StringVar(&o.cases, "case", "", "numbers of the cases to run, separated by commas (default all)")
	flag.StringVar(&o.only, "only", "", "of these cases, the variants whose name matches this `regexp`")
	flag.StringVar(&o.size, "size", "default", "small, default or large")
	flag.StringVar(&o.out, "out", "bin/bench.json", "where the figures are written")
	flag.StringVar(&o.baseline, "baseline", "bench/baseline.json", "figures to compare with, if the file is there")
	flag.BoolVar(&o.save, "save", false, "make these figures the baseline")
	flag.StringVar(&o.profile, "cpuprofile", "", "where a CPU profile of this program is written; those of HTTP fronts, and what they allocated, beside it")
	flag.Func("set", "a setting of the server, `name=value`; may be repeated", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("write it as name=value")
		}
		o.settings[name] = value
		return nil
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := profiled(o.profile, func() error { return run(ctx, o, os.Stdout, os.Stderr) })
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
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	// Before the minutes of measuring, not after them.
	before, err := loadReport(o.baseline)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cluster, err := startServer(ctx, o.settings)
	if err != nil {
		return err
	}
	defer cluster.Remove()
	b, err := newBench(ctx, size, cluster.URL("postgres"), func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) })
	if err != nil {
		return err
	}
	b.FrontProfile, b.Only = o.profile, only
	report := &Report{Commit: commit(), Size: size.Name, StartedAt: time.Now().UTC().Truncate(time.Second)}
	if report.Machine, err = b.machine(ctx, o.settings); err != nil {
		return err
	}
	failed := b.runAll(ctx, cases, stdout)
	report.Results, report.Seconds = b.results, time.Since(report.StartedAt).Round(time.Second).Seconds()
	fmt.Fprintf(stdout, "\n%s\nsize %s, %d rounds after %d to warm up, %.0f s\n", report.Machine, size.Name, size.Rounds, size.Warmups, report.Seconds)
	if before != nil {
		if err := writeChanges(stdout, o.baseline, before, report); err != nil {
			return err
		}
	}
	if err := errors.Join(failed, report.save(o.out)); err != nil {
		return err
	}
	if !o.save {
		return nil
	}
	return report.over(before).save(o.baseline)
}

// runAll goes on after a case that fails: the others take minutes, and are as good.
func (b *Bench) runAll(ctx context.Context, cases []Case, stdout io.Writer) (failed error) {
	for _, c := range cases {
		first := len(b.results)
		err := b.run(ctx, c)
		if len(b.results) > first {
			err = errors.Join(err, writeTable(stdout, c, b.results[first:]))
		}
		failed = errors.Join(failed, err)
		if ctx.Err() != nil {
			return failed
		}
	}
	return failed
}

func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	file, err := os.Create(path)
	if err != nil {
		return err // it names the file
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(fmt.Errorf("profile: %w", err), file.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, file.Close())
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
	b.log("  %-64s %-8s %12s %s%s", c.Variant, side, number(m.Of(t)), m.Unit, warmup)
}
