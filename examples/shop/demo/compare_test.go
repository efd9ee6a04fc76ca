package main

import (
	"slices"
	"testing"
)

func TestDifferencesAreNamed(t *testing.T) {
	t.Parallel()
	want := map[string]string{"1": `{"a":1,"b":"x"}`, "2": `{"a":2}`, "3": `{"a":12345678901234567890}`}
	held := map[string]map[string]string{
		"phone":  {"1": `{"b":"x", "a":1}`, "2": `{"a":2}`, "3": `{"a":12345678901234567890}`},
		"tablet": {"1": `{"a":1,"b":"y"}`, "3": `{"a":12345678901234567891}`, "4": `{}`},
	}
	if got := differences("t", want, held, []string{"phone", "reader"}); got != nil {
		t.Errorf("equal, but found %q", got)
	}
	got := differences("t", want, held, []string{"phone", "tablet"})
	if expected := []string{
		`t 1: tablet holds {"a":1,"b":"y"}, the database {"a":1,"b":"x"}`,
		`t 2: tablet holds no such row, the database {"a":2}`,
		`t 3: tablet holds {"a":12345678901234567891}, the database {"a":12345678901234567890}`,
		`t 4: tablet holds {}, the database no such row`,
	}; !slices.Equal(got, expected) {
		t.Errorf("got %q", got)
	}
}
