package causal

import (
	"strings"
	"testing"
)

func with(values ...int64) (s State) {
	copy(s[:], values)
	return s
}

// A checker that cannot tell wrong from right proves nothing.
func TestWhatIsWrongIsSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		want string
		do   func(c *Checker)
	}{
		"as it should be": {"", func(c *Checker) {
			c.Read("a", with())
			wrote(c, Txn{Client: "a", Read: with(), Value: 1, Writes: []int{0, 1}})
			c.Read("b", with(1, 1))
			wrote(c, Txn{Client: "b", Read: with(1, 1), Value: 2, Writes: []int{1, 2}})
			c.Read("c", with())
			c.Read("c", with(1, 2, 2))
			c.Read("a", with(1, 1))
			c.Converged(map[string]State{"a": with(1, 2, 2), "b": with(1, 2, 2)}, []Txn{{Value: 1, Writes: []int{0, 1}}})
		}},
		"a read goes back": {"monotonic reads", func(c *Checker) {
			wrote(c, Txn{Client: "b", Value: 1, Writes: []int{0}})
			c.Read("a", with(1))
			c.Read("a", with(0))
		}},
		"an own write is not there": {"read your writes", func(c *Checker) {
			wrote(c, Txn{Client: "a", Value: 1, Writes: []int{0}})
			c.Read("a", with(0))
		}},
		"a transaction in part": {"atomic visibility", func(c *Checker) {
			wrote(c, Txn{Client: "a", Value: 1, Writes: []int{0, 1}})
			c.Read("b", with(1, 0))
		}},
		"a write before what it follows": {"writes follow reads", func(c *Checker) {
			wrote(c, Txn{Client: "a", Value: 1, Writes: []int{0}})
			wrote(c, Txn{Client: "b", Read: with(1), Value: 2, Writes: []int{1}})
			c.Read("c", with(0, 2))
		}},
		"writes of one client out of order": {"writes follow reads", func(c *Checker) {
			wrote(c, Txn{Client: "a", Value: 1, Writes: []int{0}})
			wrote(c, Txn{Client: "a", Read: with(1), Value: 2, Writes: []int{1}})
			c.Read("c", with(0, 2))
		}},
		"a value from nowhere":    {"nobody wrote", func(c *Checker) { c.Read("a", with(7)) }},
		"clients end differently": {"strong convergence", func(c *Checker) { c.Converged(map[string]State{"a": with(1), "b": with(2)}, nil) }},
		"what was said is not true": {"strong convergence", func(c *Checker) {
			c.Converged(map[string]State{"a": with(1), "b": with(1)}, []Txn{{Value: 2, Writes: []int{0}}})
		}},
	} {
		c := NewChecker()
		test.do(c)
		err := c.Err()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func wrote(c *Checker, txn Txn) {
	c.Wrote(txn)
	c.Acknowledged(txn)
}
