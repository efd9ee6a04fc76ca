package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Generate draws the history of a seed. Each has a character of its own: how long it is, what comes often in
// it and what never, how many devices and rows take part. Where all of that is the same in all of them, much of
// one thing without the others hardly ever comes.
func Generate(seed int) History {
	r := rand.New(rand.NewPCG(uint64(seed), 0)) //nolint:gosec // it shall be the same every time
	one := func(of ...int) int { return of[r.IntN(len(of))] }
	var names []string
	for _, verb := range slices.Sorted(maps.Keys(verbs)) {
		for range verbs[verb].weight * one(0, 1, 1, 1, 3, 9) {
			names = append(names, verb)
		}
	}
	if names == nil {
		names = []string{"sync"}
	}
	who, what, often := one(4, 41, 41), one(12, 301, 301), one(1, 1, 3)
	phones := len(installations) + len(users)
	h := make(History, 1+r.IntN(one(60, 150, 300)))
	for i := range h {
		s := Step{Verb: names[r.IntN(len(names))], A: r.IntN(who), B: r.IntN(301), C: r.IntN(what)}
		// Devices of client/ are the last ones: some histories are of them for the most part.
		if often > 1 && r.IntN(often) > 0 {
			s.A = s.A/phones*phones + phones - 1 - s.A%len(users)
		}
		// Every other request goes through.
		if s.Verb == "go" || s.Verb == "read" {
			s.B = r.IntN(len(Faults)) * one(0, 1)
		}
		h[i] = s
	}
	return h
}
