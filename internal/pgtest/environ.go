package pgtest

import (
	"os"
	"slices"
	"strings"
)

// Environ is the environment for a program of pgtide: without the settings of tests, which are none
// of its own.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PGTIDE_") })
}
