package wire

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// internalStates never reach a client: a function catches the first, and the second is a mistake of
// whoever calls the SQL.
var internalStates = []string{"TD100", "TD128"}

// What the SQL of the exchange raises, what this package knows, and the page are the same.
func TestTableOfErrors(t *testing.T) {
	t.Parallel()
	var raisedBySQL []string
	err := fs.WalkDir(os.DirFS("../../sql"), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile("../../sql/" + name)
		for _, found := range regexp.MustCompile(`ERRCODE = '(TD1\d\d)'`).FindAllStringSubmatch(string(text), -1) {
			raisedBySQL = append(raisedBySQL, found[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range raisedBySQL {
		if _, known := raised[state]; !known && !slices.Contains(internalStates, state) {
			t.Errorf("the SQL raises %s, which is no answer", state)
		}
	}
	for state, answer := range raised {
		if state >= "TD100" && !slices.Contains(raisedBySQL, state) {
			t.Errorf("%s is answered with %s, and nothing raises it", state, answer.code)
		}
	}
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\d+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, fmt.Sprintf("%s %s %s", row[1], row[2], strings.TrimSpace(row[3])))
	}
	slices.Sort(listed)
	if want := tableRows(); !slices.Equal(listed, want) {
		t.Errorf("docs/errors.md lists\n%s\nand answers are\n%s", strings.Join(listed, "\n"), strings.Join(want, "\n"))
	}
}

// tableRows are the codes with their status and what raises them. Failures of routes are 500.
func tableRows() (rows []string) {
	for code, status := range statuses {
		var states []string
		for state, answer := range raised {
			if answer.code == code {
				states = append(states, state)
			}
		}
		slices.Sort(states)
		rows = append(rows, fmt.Sprintf("%s %d %s", code, status, strings.Join(states, ", ")))
	}
	for _, code := range []Code{ConnectFailed, PushCreateFailed, PushChunkFailed, PushCommitFailed, PushDeleteFailed, BundleRowsFailed, PullFailed, WatchFailed,
		SnapshotCreateFailed, SnapshotChunkFailed, SnapshotDeleteFailed, CapabilitiesFailed, SchemaFailed, VerifyFailed, HealthFailed, StatusFailed} {
		rows = append(rows, fmt.Sprintf("%s %d ", code, code.Status()))
	}
	slices.Sort(rows)
	return rows
}

// One code has one status.
func TestCodesAreOneStatusEach(t *testing.T) {
	t.Parallel()
	for state, answer := range raised {
		if got := answer.code.Status(); got != answer.status {
			t.Errorf("%s: %s is %d and %d", state, answer.code, got, answer.status)
		}
	}
}
