package sim

import (
	"fmt"
	"strings"
)

// Step is one thing that happens. A, B and C say to whom and how; every value is valid, because a step
// takes them modulo what there is. So any part of a history is a history.
type Step struct {
	Verb    string
	A, B, C int
}

func (s Step) String() string { return fmt.Sprintf("%s %d %d %d", s.Verb, s.A, s.B, s.C) }

// History is what happens, in order.
type History []Step

func (h History) String() string {
	lines := make([]string, len(h))
	for i, s := range h {
		lines[i] = s.String()
	}
	return strings.Join(lines, "\n")
}

// ParseHistory reads what String wrote. Lines that are empty or begin with # are passed over.
func ParseHistory(text string) (History, error) {
	var h History
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		var s Step
		if _, err := fmt.Sscanf(line, "%s %d %d %d", &s.Verb, &s.A, &s.B, &s.C); err != nil {
			return nil, fmt.Errorf("line %d: %q is not a step (verb and three numbers): %w", n+1, line, err)
		}
		if _, known := verbs[s.Verb]; !known {
			return nil, fmt.Errorf("line %d: there is no step %q", n+1, s.Verb)
		}
		h = append(h, s)
	}
	return h, nil
}

// Failure is what an oracle saw.
type Failure struct {
	Oracle string
	Detail string
}

func (f *Failure) Error() string { return f.Oracle + ": " + f.Detail }

func failed(oracle, format string, args ...any) error {
	return &Failure{Oracle: oracle, Detail: fmt.Sprintf(format, args...)}
}
