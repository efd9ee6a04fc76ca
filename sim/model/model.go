// Package model is the log in small: three writers, a sealer and a reader, and every order in which
// their steps can happen. Its traces are replayed on PostgreSQL, which must seal the same.
package model

import (
	"fmt"
	"slices"
	"strings"
)

// Variant is a way to seal or to read. Correct is how pgtide does it; the others are deliberately wrong.
type Variant int

// The variants.
const (
	Correct Variant = iota
	// PageByChangeID: the reader asks for what is numbered above what it has, as changes are numbered.
	PageByChangeID
	// SkipLateCommit: the sealer forgets who was still open at the seal before.
	SkipLateCommit
	// OrderByFirst: the sealer orders transactions by their first change, which is not causal.
	OrderByFirst
	// SealTwice: the sealer takes again what was open at the seal before, whether it had taken it or not.
	SealTwice
)

// Writer is what a transaction does: a number for each key it writes, in order. Writing a key waits for
// whoever wrote it and is still open, as a row lock does.
type Writer []int

// World is a model: who writes what, and how often is sealed and read.
type World struct {
	Writers []Writer
	Seals   int
	Reads   int
	Variant Variant
}

// change is a row of the log.
type change struct{ id, tx, key int }

// state is everything there is. Slices are never changed in place.
type state struct {
	step    []int // of each writer: writes done; len(writer)+1 once committed
	changes []change
	// order in which transactions committed, for the oracles only.
	committed []int
	sealed    []int // transactions by bundle_id
	open      []int // open at the newest seal
	seen      []int // transactions the seals saw
	seals     int
	reads     int
	read      []int // what the reader has applied, in order
	cursor    int
}

// Step is one step of one actor, by name.
type Step string

func (s state) key() string {
	return fmt.Sprint(s.step, s.changes, s.committed, s.sealed, s.open, s.seals, s.reads, s.read, s.cursor)
}

func (w World) done(s state, tx int) bool { return s.step[tx] == len(w.Writers[tx])+1 }

func (w World) isOpen(s state, tx int) bool { return s.step[tx] > 0 && !w.done(s, tx) }

// next lists the steps that can happen now, with what they lead to.
func (w World) next(s state) (names []Step, states []state) {
	add := func(name string, to state) { names, states = append(names, Step(name)), append(states, to) }
	for tx, writes := range w.Writers {
		switch at := s.step[tx]; {
		case at < len(writes):
			if !w.locked(s, tx, writes[at]) {
				to := s
				to.step = with(s.step, tx, at+1)
				to.changes = append(slices.Clone(s.changes), change{len(s.changes) + 1, tx, writes[at]})
				add(fmt.Sprintf("write %d %d", tx, writes[at]), to)
			}
		case at == len(writes):
			to := s
			to.step = with(s.step, tx, at+1)
			to.committed = append(slices.Clone(s.committed), tx)
			add(fmt.Sprintf("commit %d", tx), to)
		}
	}
	if s.seals < w.Seals {
		add("seal", w.seal(s))
	}
	if s.reads < w.Reads {
		add("read", w.readOn(s))
	}
	return names, states
}

func with(list []int, at, value int) []int {
	list = slices.Clone(list)
	list[at] = value
	return list
}

func (w World) locked(s state, tx, key int) bool {
	for _, c := range s.changes {
		if c.key == key && c.tx != tx && w.isOpen(s, c.tx) {
			return true
		}
	}
	return false
}

// seal gives every transaction that committed since the last seal its place.
func (w World) seal(s state) state {
	var fresh []int
	for tx := range w.Writers {
		if !w.done(s, tx) {
			continue
		}
		wasOpen := slices.Contains(s.open, tx)
		switch {
		case w.Variant == SkipLateCommit && wasOpen:
		case w.Variant == SealTwice && wasOpen:
			fresh = append(fresh, tx)
		case !slices.Contains(s.seen, tx):
			fresh = append(fresh, tx)
		}
	}
	slices.SortFunc(fresh, func(a, b int) int { return w.place(s, a) - w.place(s, b) })
	s.sealed = append(slices.Clone(s.sealed), fresh...)
	s.seen = append(slices.Clone(s.seen), fresh...)
	if w.Variant != SealTwice || s.open == nil {
		s.open = nil
		for tx := range w.Writers {
			if w.isOpen(s, tx) {
				s.open = append(s.open, tx)
			}
		}
	}
	s.seals++
	return s
}

// place is what orders transactions within a seal: the largest change, or wrongly the first.
func (w World) place(s state, tx int) int {
	place := 0
	for _, c := range s.changes {
		if c.tx == tx && (place == 0 || w.Variant != OrderByFirst) {
			place = c.id
		}
	}
	return place
}

func (w World) readOn(s state) state {
	s.reads++
	s.read = slices.Clone(s.read)
	if w.Variant != PageByChangeID {
		s.read = append(s.read, s.sealed[s.cursor:]...)
		s.cursor = len(s.sealed)
		return s
	}
	top := s.cursor
	for _, c := range s.changes {
		if c.id > s.cursor && w.done(s, c.tx) {
			if !slices.Contains(s.read, c.tx) {
				s.read = append(s.read, c.tx)
			}
			top = c.id
		}
	}
	s.cursor = top
	return s
}

// finish seals and reads what is left, so that a state can be judged as if the world ended well.
func (w World) finish(s state) state {
	s = w.seal(s)
	return w.readOn(s)
}

// hold is the first invariant that a state breaks, "" for none.
func (w World) hold(s state) string {
	count := map[int]int{}
	at := map[int]int{}
	for i, tx := range s.read {
		count[tx]++
		at[tx] = i
		switch {
		case count[tx] > 1:
			return "NoDup"
		case !w.done(s, tx):
			return "WholeTransaction"
		}
	}
	// Of two that wrote the same key, the one that wrote it later comes later.
	for i, a := range s.changes {
		for _, b := range s.changes[i+1:] {
			_, readA := at[a.tx]
			if _, readB := at[b.tx]; a.tx != b.tx && a.key == b.key && readB && (!readA || at[a.tx] > at[b.tx]) {
				return "CausalOrder"
			}
		}
	}
	if w.Variant != PageByChangeID && s.cursor > len(s.sealed) {
		return "Gapless"
	}
	return ""
}

// Broken is a trace that ends in a state that breaks an invariant.
type Broken struct {
	Invariant string
	Trace     []Step
}

func (b *Broken) Error() string { return fmt.Sprintf("%s after %s", b.Invariant, join(b.Trace)) }

func join(trace []Step) string {
	parts := make([]string, len(trace))
	for i, s := range trace {
		parts[i] = string(s)
	}
	return strings.Join(parts, ", ")
}

// Explore goes through every interleaving, each state once, and returns the number of states, and one
// trace to every final state with what is sealed there.
func (w World) Explore() (states int, ends map[string][]Step, err error) {
	ends = map[string][]Step{}
	visited := map[string]bool{}
	var visit func(s state, trace []Step) error
	visit = func(s state, trace []Step) error {
		if key := s.key(); visited[key] {
			return nil
		} else {
			visited[key] = true
		}
		if broken := w.hold(s); broken != "" {
			return &Broken{broken, slices.Clone(trace)}
		}
		names, next := w.next(s)
		for i, to := range next {
			// Positions never go back, and what was read stays read.
			if to.cursor < s.cursor || len(to.sealed) < len(s.sealed) || !slices.Equal(to.sealed[:len(s.sealed)], s.sealed) || !slices.Equal(to.read[:len(s.read)], s.read) {
				return &Broken{"NoRewind", append(slices.Clone(trace), names[i])}
			}
			if err := visit(to, append(trace, names[i])); err != nil {
				return err
			}
		}
		if len(next) == 0 {
			end := w.finish(s)
			if broken := w.hold(end); broken != "" {
				return &Broken{broken, slices.Clone(trace)}
			}
			for tx := range w.Writers {
				if w.done(end, tx) && !slices.Contains(end.read, tx) {
					return &Broken{"NoSkip", slices.Clone(trace)}
				}
			}
			ends[s.key()] = slices.Clone(trace)
		}
		return nil
	}
	err = visit(state{step: make([]int, len(w.Writers))}, nil)
	return len(visited), ends, err
}

// Sealed is the order in which a trace, and a seal after it, give transactions their places.
func (w World) Sealed(trace []Step) ([]int, error) {
	s := state{step: make([]int, len(w.Writers))}
	for _, step := range trace {
		names, next := w.next(s)
		at := slices.Index(names, step)
		if at < 0 {
			return nil, fmt.Errorf("the model cannot %s here", step)
		}
		s = next[at]
	}
	return w.seal(s).sealed, nil
}
