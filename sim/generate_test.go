package sim

import (
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// Histories generates histories: many short bursts, because rapid's lists are short.
func Histories() *rapid.Generator[History] {
	bursts := rapid.SliceOfN(rapid.SliceOfN(steps(), 0, 30), 16, 24)
	return rapid.Custom(func(t *rapid.T) History {
		h := History(slices.Concat(bursts.Draw(t, "bursts")...))
		return h[:min(len(h), 300)]
	})
}

func steps() *rapid.Generator[Step] {
	var names []string
	for _, verb := range slices.Sorted(maps.Keys(verbs)) {
		for range verbs[verb].weight {
			names = append(names, verb)
		}
	}
	verb, small, large := rapid.SampledFrom(names), rapid.IntRange(0, 40), rapid.IntRange(0, 300)
	// Every other request goes through.
	fault := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, len(Faults)-1))
	return rapid.Custom(func(t *rapid.T) Step {
		s := Step{Verb: verb.Draw(t, "verb"), A: small.Draw(t, "a")}
		if s.Verb == "go" || s.Verb == "read" {
			s.B = fault.Draw(t, "fault")
		} else {
			s.B = large.Draw(t, "b")
		}
		s.C = large.Draw(t, "c")
		return s
	})
}
