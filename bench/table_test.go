package main

import (
	"strings"
	"testing"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]string{0: "", 0.1234: "0.123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 999.6: "1,000", 1234567: "1,234,567", -1500: "-1,500"} {
		if got := number(value); got != want {
			t.Errorf("%v is printed as %q, want %q", value, got, want)
		}
	}
}

func TestTableLeavesOutWhatNobodyMeasured(t *testing.T) {
	t.Parallel()
	r := result(1, "insert", 1000, 0.5)
	r.Subject.P99Milliseconds = 4.5
	var text strings.Builder
	if err := writeTable(&text, Case{Number: 1, Title: "writing", Limit: "a bare table"}, []Result{r}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	for _, want := range []string{"case 1  writing", "held against: a bare table", "p99 ms", "4.50", "0.50 (0.49–0.51)", "  bare", "2,000"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, text.String())
		}
	}
	for _, unwanted := range []string{"p50", "MB/s", "backend"} {
		if strings.Contains(text.String(), unwanted) {
			t.Errorf("%q has nothing in it:\n%s", unwanted, text.String())
		}
	}
	if header, row := []rune(lines[4]), []rune(lines[5]); len(header) != len(row) {
		t.Errorf("columns do not stand below each other:\n%s", text.String())
	}
}
