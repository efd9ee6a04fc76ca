package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
)

var (
	seedFlag   = flag.Int("seed", 0, "replay the history of this seed (default: the fixed ones, then fresh ones)")
	seedsFlag  = flag.Int("seeds", 2, "how many of the fixed seeds to begin with")
	forFlag    = flag.Duration("for", 0, "how long to go on with fresh seeds")
	drawFlag   = flag.Uint64("draw", uint64(rand.Uint32()), "the fresh seeds are drawn from this number, which the end of a run names")
	shrinkFlag = flag.Duration("shrink", 2*time.Minute, "how long to shrink a history that fails")
	histFlag   = flag.String("history", "", "replay the history in this file")
)

// newDatabases needs the test only to find the server and to install pgtide on it.
func newDatabases(t *testing.T) *Databases {
	t.Helper()
	return databasesLike(t, pgtest.New(t))
}

// databasesLike are copies of this one, which nobody may use from now on.
func databasesLike(t *testing.T, base *pgtest.DB) *Databases {
	t.Helper()
	name := base.Config().ConnConfig.Database
	base.Close()
	databases, err := NewDatabases(t.Context(), pgtest.WithDatabase(base.URL, "postgres"), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(databases.Close)
	return databases
}

// A history of any kind leaves every device with what its user may see.
func TestHistories(t *testing.T) {
	databases := newDatabases(t)
	if *histFlag != "" {
		text, err := os.ReadFile(*histFlag)
		must(t, err)
		h, err := ParseHistory(string(text))
		must(t, err)
		check(t, databases, h, "HISTORY=file")
		return
	}
	if *seedFlag != 0 {
		checkSeed(t, databases, *seedFlag)
		return
	}
	began, fresh := time.Now(), rand.New(rand.NewPCG(*drawFlag, 0))
	histories, steps := 0, 0
	for seed := 1; seed <= *seedsFlag || time.Since(began) < *forFlag; seed++ {
		if seed > *seedsFlag {
			seed = int(fresh.Int32()) // short enough to be typed
		}
		steps += checkSeed(t, databases, seed)
		histories++
	}
	t.Logf("%d histories of %d steps in %s, fresh ones drawn from %d", histories, steps, time.Since(began).Round(time.Second), *drawFlag)
}

// A server that is restored from a backup amid a history leaves every device with what its user may see.
func TestRestoredServers(t *testing.T) {
	databases := newDatabases(t)
	began := time.Now()
	for seed := *seedFlag; seed < *seedFlag+2 || time.Since(began) < *forFlag; seed++ {
		h := Generate(seed)
		saved, rewound := len(h)/3, 2*len(h)/3
		check(t, databases, slices.Insert(slices.Insert(h, rewound, Step{Verb: "rewind"}), saved, Step{Verb: "save"}), fmt.Sprintf("RUN=TestRestoredServers SEED=%d", seed))
	}
}

// What once failed.
func TestHistoriesThatFailedOnce(t *testing.T) {
	databases := newDatabases(t)
	files, err := filepath.Glob("testdata/*.history")
	must(t, err)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			must(t, err)
			h, err := ParseHistory(string(text))
			must(t, err)
			must(t, run(t, databases, h))
		})
	}
}

func run(t *testing.T, databases *Databases, h History) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	return Run(ctx, databases, h)
}

func checkSeed(t *testing.T, databases *Databases, seed int) (steps int) {
	t.Helper()
	return check(t, databases, Generate(seed), fmt.Sprintf("SEED=%d", seed))
}

// check runs a history, and shrinks it when it fails.
func check(t *testing.T, databases *Databases, h History, replay string) (steps int) {
	t.Helper()
	err := run(t, databases, h)
	if err == nil {
		return len(h)
	}
	oracle := oracleOf(err)
	shrunk := Shrink(h, *shrinkFlag, func(h History) bool {
		again := run(t, databases, h)
		if again == nil || oracleOf(again) != oracle {
			return false
		}
		err = again
		return true
	})
	t.Fatalf("oracle %q\n%v\n\nthe history, shrunk from %d steps to %d:\n%s\n\nreplay it: make sim %s\nor save the steps in a file: make sim HISTORY=file", oracle, err, len(h), len(shrunk), shrunk, replay)
	return 0
}

func oracleOf(err error) string {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure.Oracle
	}
	return "none: the history could not be run"
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestHistoriesAreReadAsTheyAreWritten(t *testing.T) {
	h := Generate(1)
	again, err := ParseHistory(h.String())
	if err != nil || again.String() != h.String() {
		t.Errorf("%v: %s became %s", err, h, again)
	}
	for _, bad := range []string{"dance 1 2 3", "edit 1", "edit one 2 3"} {
		if _, err := ParseHistory(bad); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestHazardsNameSteps(t *testing.T) {
	for _, hazard := range Hazards {
		if _, known := verbs[hazard.Step]; hazard.Step != "" && !known {
			t.Errorf("%s: there is no step %q", hazard.Name, hazard.Step)
		}
	}
}
