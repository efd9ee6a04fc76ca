// Package model is the log in small: three writers, a sealer and a reader, and every order in which
// their steps can happen. Its traces are replayed on PostgreSQL, which must seal the same.
package model

import (
	"fmt"
	"slices"
	"strings"
)

// Variant is a way to seal or to read: the empty one is how pgtide does it, the others are deliberately wrong.
type Variant string

// The variants.
const (
	Correct Variant = ""
	// PageByChangeID: the reader asks for what is numbered above what it has, as changes are numbered.
	PageByChangeID Variant = "pages by change number"
	// PageByRows: the reader's page ends after a row, wherever in its transaction that is.
	PageByRows Variant = "pages of rows"
	// SkipLateCommit: the sealer forgets who was still open at the seal before.
	SkipLateCommit Variant = "skips a late commit"
	// OrderByFirst: the sealer orders transactions by their first change, which is not causal.
	OrderByFirst Variant = "orders by the first change"
	// SealTwice: the sealer takes again what was open at the seal before, whether it had taken it or not.
	SealTwice Variant = "seals twice"
	// ReadUnsealed: the reader takes the changes that it finds, of transactions that are not done as well.
	ReadUnsealed Variant = "reads what is not sealed"
	// ReuseNumber: a seal numbers from what is kept, and begins anew after all was pruned.
	ReuseNumber Variant = "numbers from what is kept"
	// IgnoreFloor: the reader goes on from what is kept, however far below it stands.
	IgnoreFloor Variant = "ignores the floor"
	// IgnoreIdentity: the reader knows its position, and not in which history that was.
	IgnoreIdentity Variant = "ignores the seal of its position"
	// IgnorePush: the reader keeps nothing of the seal of a push that it has the answer of.
	IgnorePush Variant = "ignores the seal of its push"
	// ForgetPush: the reader forgets that seal with the next page, whether that brought it there or not.
	ForgetPush Variant = "forgets the seal of its push too early"
	// CountKept: the reader's position is how much of the log is kept.
	CountKept Variant = "counts what is kept"
)

// Writer is what a transaction does: a number for each key it writes, in order. Writing a key waits for
// whoever wrote it and is still open, as a row lock does.
type Writer []int

// World is a model: who writes what, and how often is sealed and read, how often what is sealed is no
// longer kept, and whether the database goes back to a copy of itself.
type World struct {
	Writers []Writer
	Seals   int
	Reads   int
	// Page is how many bundles a read brings at most, 0 for all.
	Page     int
	Prunes   int
	Restores bool
	// Pushes says that the first writer is a push of the reader's, which gets the answer once it is sealed.
	Pushes  bool
	Variant Variant
}

// change is a row of the log.
type change struct{ id, tx, key int }

// bundle is a transaction with its place, and the seal that gave it.
type bundle struct{ tx, seal int }

// state is everything there is. Slices are never changed in place.
type state struct {
	database
	seals    int
	reads    int
	prunes   int
	read     []change // what the reader has applied, in order
	cursor   int
	seal     int  // that made the bundle at the cursor
	answered bool // the push was
	pushed   int  // the seal that the answer named, until the reader stands behind it
	own      bool // the reader has what it pushed, by the answer
	copied   *database
	restored bool
}

// database is what goes back when a database does.
type database struct {
	step    []int // of each writer: writes done; len(writer)+1 once committed, one more when it was lost
	changes []change
	// order in which transactions committed, for the oracles only.
	committed []int
	sealed    []bundle
	open      []int // open at the newest seal
	seen      []int // transactions the seals saw
	floor     int
}

// Step is one step of one actor, by name.
type Step string

func (s state) key() string {
	copied := "none"
	if s.copied != nil {
		copied = fmt.Sprint(*s.copied)
	}
	return fmt.Sprint(s.database, s.seals, s.reads, s.prunes, s.read, s.cursor, s.seal, s.answered, s.pushed, s.own, s.restored, copied)
}

func (w World) done(s state, tx int) bool { return s.step[tx] == len(w.Writers[tx])+1 }

func (w World) isOpen(s state, tx int) bool {
	return s.step[tx] > 0 && s.step[tx] <= len(w.Writers[tx])
}

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
	if at := slices.IndexFunc(s.sealed, func(b bundle) bool { return b.tx == 0 }); w.Pushes && !s.answered && at >= 0 {
		to := s
		to.answered, to.own, to.pushed = true, true, s.sealed[at].seal
		add("answer", to)
	}
	if s.prunes < w.Prunes && len(s.sealed) > s.floor {
		to := s
		to.floor, to.prunes = len(s.sealed), s.prunes+1
		add("prune", to)
	}
	if w.Restores && s.copied == nil {
		to, copied := s, s.database
		to.copied = &copied
		add("copy", to)
	}
	if w.Restores && s.copied != nil && !s.restored {
		add("restore", w.restore(s))
	}
	return names, states
}

// restore puts the copy in place of the database. Who had not committed when it was made never will.
func (w World) restore(s state) state {
	s.database, s.restored = *s.copied, true
	for tx := range w.Writers {
		if !w.done(s, tx) {
			s.step = with(s.step, tx, len(w.Writers[tx])+2)
			s.changes = slices.DeleteFunc(slices.Clone(s.changes), func(c change) bool { return c.tx == tx })
		}
	}
	return s
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
	s.seals++
	s.sealed = slices.Clone(s.sealed)
	if w.Variant == ReuseNumber && len(fresh) > 0 && s.floor == len(s.sealed) {
		s.sealed, s.floor = nil, 0
	}
	for _, tx := range fresh {
		s.sealed = append(s.sealed, bundle{tx, s.seals})
	}
	s.seen = append(slices.Clone(s.seen), fresh...)
	if w.Variant != SealTwice || s.open == nil {
		s.open = nil
		for tx := range w.Writers {
			if w.isOpen(s, tx) {
				s.open = append(s.open, tx)
			}
		}
	}
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

// readOn applies what is new to the reader, a page of it. It takes a snapshot where bundles alone do not lead
// there: from below the floor, and from another history.
func (w World) readOn(s state) state {
	s.reads++
	s.read = slices.Clone(s.read)
	switch w.Variant {
	case PageByChangeID, ReadUnsealed:
		return w.readChanges(s)
	case PageByRows:
		return w.readRow(s)
	}
	to := len(s.sealed)
	if w.Page > 0 {
		to = min(to, s.cursor+w.Page)
	}
	if w.elsewhere(s) || w.Variant != IgnoreFloor && s.cursor < s.floor {
		s = w.seal(s)
		s.seals-- // it is none of the sealer's
		s.read, s.cursor, s.own, s.pushed, to = nil, 0, false, 0, len(s.sealed)
	} else if s.cursor < s.floor {
		s.cursor = s.floor
	}
	for _, b := range s.sealed[min(s.cursor, to):to] {
		s.read = append(s.read, s.changesOf(b.tx)...)
	}
	s.cursor = max(s.cursor, to)
	if w.Variant == CountKept {
		s.cursor = len(s.sealed) - s.floor
	}
	if s.cursor > 0 && s.cursor <= len(s.sealed) {
		s.seal = s.sealed[s.cursor-1].seal
	}
	if s.cursor >= len(s.sealed) || w.Variant == ForgetPush {
		s.pushed = 0
	}
	return s
}

// elsewhere says whether the reader has something of a history that is no more.
func (w World) elsewhere(s state) bool {
	if w.Variant != IgnoreIdentity && s.cursor > 0 && (s.cursor > len(s.sealed) || s.sealed[s.cursor-1].seal != s.seal) {
		return true
	}
	return w.Variant != IgnorePush && s.pushed > 0 && !slices.ContainsFunc(s.sealed, func(b bundle) bool { return b.seal == s.pushed })
}

func (d database) changesOf(tx int) (of []change) {
	for _, c := range d.changes {
		if c.tx == tx {
			of = append(of, c)
		}
	}
	return of
}

// readChanges is a reader of the wrong kind: it asks for what is numbered above what it has.
func (w World) readChanges(s state) state {
	for _, c := range s.changes {
		if c.id > s.cursor && (w.done(s, c.tx) || w.Variant == ReadUnsealed) {
			s.read = append(s.read, c)
			s.cursor = c.id
		}
	}
	return s
}

// readRow is another one: it counts rows.
func (World) readRow(s state) state {
	var rows []change
	for _, b := range s.sealed {
		rows = append(rows, s.changesOf(b.tx)...)
	}
	at := min(len(s.read), len(rows))
	s.read = append(s.read, rows[at:min(at+1, len(rows))]...)
	s.cursor = len(s.read)
	return s
}

// finish seals and reads what is left, so that a state can be judged as if the world ended well.
func (w World) finish(s state) state {
	s = w.readOn(w.seal(s))
	for range w.Writers { // a page may be of one
		s = w.readOn(s)
	}
	return s
}

// hold is the first invariant that a state breaks, "" for none.
func (w World) hold(s state) string {
	at := map[int]int{} // where the reader applied a change
	of := map[int]int{} // how many of a transaction
	for i, c := range s.read {
		if _, twice := at[c.id]; twice {
			return "NoDup"
		}
		at[c.id] = i
		of[c.tx]++
	}
	for tx, count := range of {
		if w.isOpen(s, tx) || count < len(w.Writers[tx]) {
			return "WholeTransaction"
		}
	}
	// Of two changes of one key, the later one comes later.
	for i, a := range s.changes {
		for _, b := range s.changes[i+1:] {
			atA, readA := at[a.id]
			if atB, readB := at[b.id]; a.key == b.key && readB && (!readA || atA > atB) {
				return "CausalOrder"
			}
		}
	}
	return ""
}

// follows is the invariant that one step breaks.
func (w World) follows(s, to state, step Step) string {
	switch {
	case step == "restore":
		return ""
	// Places are given once and stay.
	case len(to.sealed) < len(s.sealed) || !slices.Equal(to.sealed[:len(s.sealed)], s.sealed):
		return "Gapless"
	// Positions never go back in one history, and what was read of it stays read.
	case !s.restored && (to.cursor < s.cursor || len(to.read) < len(s.read) || step == "read" && s.cursor >= s.floor && !slices.Equal(to.read[:len(s.read)], s.read)):
		return "NoRewind"
	}
	return ""
}

// ends is the invariant that is broken once all is sealed and read: the reader has what is committed, and nothing else.
func (w World) ends(s state) string {
	if broken := w.hold(s); broken != "" {
		return broken
	}
	for tx := range w.Writers {
		has := slices.ContainsFunc(s.read, func(c change) bool { return c.tx == tx }) || w.Pushes && tx == 0 && s.own
		switch {
		case w.done(s, tx) && !has:
			return "NoSkip"
		case has && !w.done(s, tx):
			return "OneHistory"
		}
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
			if broken := w.follows(s, to, names[i]); broken != "" {
				return &Broken{broken, append(slices.Clone(trace), names[i])}
			}
			if err := visit(to, append(trace, names[i])); err != nil {
				return err
			}
		}
		if len(next) == 0 {
			if broken := w.ends(w.finish(s)); broken != "" {
				return &Broken{broken, slices.Clone(trace)}
			}
			ends[s.key()] = slices.Clone(trace)
		}
		return nil
	}
	err = visit(w.begin(), nil)
	return len(visited), ends, err
}

func (w World) begin() state { return state{database: database{step: make([]int, len(w.Writers))}} }

// After is what a trace leads to, a step at a time: the transactions that are sealed, and that the reader has applied.
func (w World) After(trace []Step) (sealed, read [][]int, err error) {
	s := w.begin()
	for _, step := range trace {
		names, next := w.next(s)
		switch at := slices.Index(names, step); {
		case at >= 0:
			s = next[at]
		case step == "seal":
			s = w.seal(s)
		case step == "read":
			s = w.readOn(s)
		default:
			return nil, nil, fmt.Errorf("the model cannot %s here", step)
		}
		order := make([]int, len(s.sealed))
		for i, b := range s.sealed {
			order[i] = b.tx
		}
		var applied []int
		for _, c := range s.read {
			if !slices.Contains(applied, c.tx) {
				applied = append(applied, c.tx)
			}
		}
		sealed, read = append(sealed, order), append(read, applied)
	}
	return sealed, read, nil
}
