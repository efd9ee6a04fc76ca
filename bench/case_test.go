package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// A front is this program once more.
func TestMain(m *testing.M) {
	if status, isFront := asFront(); isFront {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

func TestEveryCaseRuns(t *testing.T) {
	t.Parallel()
	server := pgtest.Private(t, pgtest.ClusterConfig{}).URL("postgres")
	ctx := context.Background()
	size := Size{Name: "tiny", Warmups: 1, Rounds: 1, Duration: 20 * time.Millisecond, Rows: 2000, OtherRows: 400, SnapshotRows: []int{1500}, Watchers: []int{1, 20}, LogRows: []int{100, 400}, Users: []int{2, 20}}
	b, err := newBench(ctx, size, server, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := b.machine(ctx, settings); err != nil || m.Settings["fsync"] != "on" || m.Postgres == "" || m.Cores == 0 || !m.same(m) {
		t.Errorf("the machine is %+v, %v", m, err)
	}
	cases, err := casesNamed("")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range cases {
		first := len(b.results)
		if err := b.run(ctx, c); err != nil {
			t.Fatal(err)
		}
		if len(b.results) == first {
			t.Errorf("case %d compares nothing", c.Number)
		}
		for _, r := range b.results[first:] {
			name := fmt.Sprintf("case %d, %s", r.Case, r.Variant)
			if seen[name] {
				t.Errorf("%s: two comparisons have this name, and only one could be found in a baseline", name)
			}
			seen[name] = true
			if r.Subject.Figure.Median <= 0 || r.Subject.Runs != size.Rounds {
				t.Errorf("%s: measured %+v", name, r.Subject)
			}
			if r.Limit != nil && (r.Limit.Figure.Median <= 0 || r.Ratio.Median <= 0) {
				t.Errorf("%s: the limit is %+v, the ratio %v", name, r.Limit, r.Ratio)
			}
		}
		if err := writeTable(t.Output(), c, b.results[first:]); err != nil {
			t.Error(err)
		}
	}
	var left int
	if err := b.observer.QueryRow(ctx, "SELECT count(*) FROM pg_database WHERE datname LIKE 'pgtide_bench%'").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d databases are left behind, %v", left, err)
	}
}

func TestAFailedCaseLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	server := pgtest.Private(t, pgtest.ClusterConfig{}).URL("postgres")
	ctx := context.Background()
	b, err := newBench(ctx, sizes[0], server, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	err = b.run(ctx, Case{Number: 99, Run: func(ctx context.Context, b *Bench) error {
		d, err := b.Database(ctx)
		if err != nil {
			return err
		}
		if _, err := d.Session(ctx); err != nil {
			return err
		}
		return b.Compare(ctx, Comparison{Variant: "nothing", Subject: func(context.Context, *Trial) error { return nil }})
	}})
	if err == nil || !strings.Contains(err.Error(), "case 99: nothing: subject: nothing was measured") {
		t.Errorf("got %v", err)
	}
	var left int
	if err := b.observer.QueryRow(ctx, "SELECT count(*) FROM pg_database WHERE datname LIKE 'pgtide_bench%'").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d databases are left behind, %v", left, err)
	}
}

func TestCasesAreChosenByNumber(t *testing.T) {
	t.Parallel()
	chosen, err := casesNamed("2, 1")
	if err != nil || len(chosen) != 2 || chosen[0].Number != 2 || chosen[1].Number != 1 {
		t.Errorf("got %v, %v", chosen, err)
	}
	for _, wrong := range []string{"one", "1,", "99"} {
		if _, err := casesNamed(wrong); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
	if _, err := sizeNamed("huge"); err == nil || !strings.Contains(err.Error(), "small, default, large") {
		t.Errorf("an unknown size: %v", err)
	}
}
