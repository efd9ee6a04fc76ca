// Package causal is the workload of the public jepsen-powersync project, written anew from its
// description: clients of an offline-first database and of the database behind it read all of 100 keys
// and write some of them in one transaction, the larger value wins, and what each of them reads must be
// causally consistent, whole transactions, and in the end the same.
package causal

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Keys is how many keys there are.
const Keys = 100

// State is a value for every key. All begin at 0, and values of a key only grow.
type State [Keys]int64

// Txn is what a client did in one transaction: it read all keys, and then wrote some, all of them with
// the value that names the transaction.
type Txn struct {
	Client string
	Read   State
	Value  int64
	Writes []int
}

// Checker holds every read of every client against what it must know. It is told of a transaction
// before anybody else can see its writes.
type Checker struct {
	mu sync.Mutex
	// known is what the writer of a value knew when it wrote it, its own writes included.
	known map[int64]*State
	// floor is what a client must see from now on.
	floor map[string]*State
	why   map[string]*[Keys]string
	wrong []string
	// Reads and Writes count transactions.
	Reads, Writes int
}

// NewChecker returns a checker that has seen nothing.
func NewChecker() *Checker {
	return &Checker{known: map[int64]*State{}, floor: map[string]*State{}, why: map[string]*[Keys]string{}}
}

// The reasons for which a value must be seen.
const (
	readBefore   = "monotonic reads: it read that before"
	wroteBefore  = "read your writes: it wrote that"
	followsReads = "writes follow reads: who wrote %d had that before him"
	atomically   = "atomic visibility: it was written together with %d"
)

// Read judges what a client reads.
func (c *Checker) Read(client string, read State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Reads++
	floor, why := c.of(client)
	c.hold(client, read, floor, why)
	for k, value := range read {
		if value > floor[k] {
			floor[k], why[k] = value, readBefore
		}
	}
	// Whoever sees a value sees what its writer saw, all in the same moment.
	for _, value := range read {
		known := c.known[value]
		if known == nil {
			if value != 0 {
				c.wrong = append(c.wrong, fmt.Sprintf("%s reads %d, which nobody wrote", client, value))
			}
			continue
		}
		for k := range known {
			if known[k] > floor[k] {
				floor[k], why[k] = known[k], fmt.Sprintf(followsReads, value)
				if known[k] == value {
					why[k] = fmt.Sprintf(atomically, value)
				}
			}
		}
	}
	c.hold(client, read, floor, why)
}

func (c *Checker) of(client string) (*State, *[Keys]string) {
	if c.floor[client] == nil {
		c.floor[client], c.why[client] = &State{}, &[Keys]string{}
	}
	return c.floor[client], c.why[client]
}

func (c *Checker) hold(client string, read State, floor *State, why *[Keys]string) {
	for k := range read {
		if read[k] < floor[k] {
			c.wrong = append(c.wrong, fmt.Sprintf("%s reads %d at key %d and should see %d: %s", client, read[k], k, floor[k], why[k]))
			floor[k] = read[k] // said once
		}
	}
}

// Wrote takes in a transaction, whose read was judged already. It may turn out never to happen.
func (c *Checker) Wrote(t Txn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Writes++
	known := t.Read
	for _, k := range t.Writes {
		known[k] = max(known[k], t.Value)
	}
	c.known[t.Value] = &known
}

// Acknowledged says that a transaction happened, for the client that made it.
func (c *Checker) Acknowledged(t Txn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	floor, why := c.of(t.Client)
	for _, k := range t.Writes {
		if t.Value > floor[k] {
			floor[k], why[k] = t.Value, wroteBefore
		}
	}
}

// Converged judges the last reads: every client's, after all that was acknowledged.
func (c *Checker) Converged(last map[string]State, acknowledged []Txn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clients := slices.Sorted(maps.Keys(last))
	for _, client := range clients[1:] {
		for k := range last[client] {
			if a, b := last[clients[0]][k], last[client][k]; a != b {
				c.wrong = append(c.wrong, fmt.Sprintf("strong convergence: at key %d %s ends with %d, %s with %d", k, clients[0], a, client, b))
			}
		}
	}
	for _, t := range acknowledged {
		for _, k := range t.Writes {
			if last[clients[0]][k] < t.Value {
				c.wrong = append(c.wrong, fmt.Sprintf("strong convergence: %s was told that %d is at key %d, where %d is in the end", t.Client, t.Value, k, last[clients[0]][k]))
			}
		}
	}
}

// Err is what was wrong.
func (c *Checker) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrong == nil {
		return nil
	}
	return fmt.Errorf("%d things are wrong:\n%s", len(c.wrong), strings.Join(c.wrong[:min(len(c.wrong), 20)], "\n"))
}
