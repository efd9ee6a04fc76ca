package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Writers that meet on two keys, in different orders of more and less: three, and two where one is the reader himself.
var worlds = []World{
	{Writers: []Writer{{0, 1}, {1}, {0}}, Seals: 2, Reads: 2},
	{Writers: []Writer{{0}, {1, 0}, {2}}, Seals: 2, Reads: 2},
	{Writers: []Writer{{0, 2}, {1, 2}, {2}}, Seals: 2, Reads: 1},
	{Writers: []Writer{{0}, {1}, {2}}, Seals: 3, Reads: 2},
	{Writers: []Writer{{0}, {1, 0}, {1}}, Seals: 2, Reads: 2, Prunes: 2},
	{Writers: []Writer{{0, 1}, {1}, {0}}, Seals: 2, Reads: 2, Page: 1, Prunes: 1},
	{Writers: []Writer{{0}, {0}, {1}}, Seals: 2, Reads: 1, Restores: true},
	{Writers: []Writer{{0}, {1}}, Seals: 2, Reads: 2, Page: 1, Restores: true, Pushes: true},
}

func TestEveryInterleavingHoldsTheInvariants(t *testing.T) {
	t.Parallel()
	for _, w := range worlds {
		states, ends, err := w.Explore()
		if err != nil || states < 1000 || len(ends) < 100 {
			t.Errorf("%v: %d states, %d ends: %v", w.Writers, states, len(ends), err)
		}
		t.Logf("%v: %d states, %d ends", w.Writers, states, len(ends))
	}
}

// A model that cannot tell wrong from right proves nothing.
func TestWrongVariantsAreCaught(t *testing.T) {
	t.Parallel()
	for variant, want := range map[Variant][]string{
		PageByChangeID: {"NoSkip", "CausalOrder"}, PageByRows: {"WholeTransaction"}, SkipLateCommit: {"NoSkip", "CausalOrder"}, OrderByFirst: {"CausalOrder"}, SealTwice: {"NoDup"},
		ReadUnsealed: {"WholeTransaction"}, ReuseNumber: {"Gapless", "NoRewind"}, IgnoreFloor: {"NoSkip", "CausalOrder"}, IgnoreIdentity: {"NoSkip", "OneHistory"},
		IgnorePush: {"OneHistory"}, ForgetPush: {"OneHistory"}, CountKept: {"NoRewind"},
	} {
		caught := map[string]string{}
		for _, w := range worlds {
			w.Variant = variant
			_, _, err := w.Explore()
			var broken *Broken
			if errors.As(err, &broken) {
				caught[broken.Invariant] = broken.Error()
			}
		}
		for _, invariant := range want {
			if caught[invariant] != "" {
				want = nil
			}
		}
		if want != nil {
			t.Errorf("who %s broke %v, wanted one of %v", variant, caught, want)
		}
		t.Logf("%s: %v", variant, slices.Sorted(maps.Values(caught)))
	}
}

// PostgreSQL seals what the model says, in the order it says, whatever the interleaving, and a device that
// reads over HTTP holds what the model's reader does.
func TestTracesOfTheModelOnPostgreSQL(t *testing.T) {
	t.Parallel()
	bench := newBench(t)
	const sample = 6 // of each world
	replayed := 0
	for n, w := range worlds {
		if w.Pushes {
			continue // the tests of client/ have that
		}
		_, ends, err := w.Explore()
		if err != nil {
			t.Fatal(err)
		}
		keys := slices.Sorted(maps.Keys(ends))
		if w.Restores {
			// A database that is copied has nobody in it.
			keys = slices.DeleteFunc(keys, func(key string) bool { return !copiesAtRest(ends[key]) })
		}
		for i := 0; i < len(keys); i += max(1, len(keys)/sample) {
			if err := bench.replay(w, fmt.Sprintf("%d.%d", n, i), ends[keys[i]]); err != nil {
				t.Errorf("%v: %s: %v", w.Writers, join(ends[keys[i]]), err)
			}
			replayed++
		}
	}
	t.Logf("%d traces", replayed)
}

func copiesAtRest(trace []Step) bool {
	open := map[string]bool{}
	for _, step := range trace {
		verb, tx, _ := strings.Cut(string(step), " ")
		switch tx, _, _ := strings.Cut(tx, " "); verb {
		case "write":
			open[tx] = true
		case "commit":
			delete(open, tx)
		case "copy":
			return len(open) == 0
		}
	}
	return true
}
