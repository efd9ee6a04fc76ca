package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// column of the table of a case. It is left out where no line has anything in it.
type column struct {
	name string
	cell func(Result, Side) string
}

var columns = []column{
	{"median", func(_ Result, s Side) string { return number(s.Figure.Median) }},
	{"min", func(_ Result, s Side) string { return number(s.Figure.Min) }},
	{"max", func(_ Result, s Side) string { return number(s.Figure.Max) }},
	{"unit", func(r Result, _ Side) string { return r.Unit }},
	{"p50 ms", func(_ Result, s Side) string { return number(s.P50Milliseconds) }},
	{"p99 ms", func(_ Result, s Side) string { return number(s.P99Milliseconds) }},
	{"rows/s", func(r Result, s Side) string {
		if r.Unit == RowsPerSecond.Unit {
			return ""
		}
		return number(s.RowsPerSecond)
	}},
	{"MB/s", func(_ Result, s Side) string { return number(s.BytesPerSecond / 1e6) }},
	{"WAL B/row", func(_ Result, s Side) string { return number(s.WALBytesPerRow) }},
	{"Go B/row", func(_ Result, s Side) string { return number(s.GoBytesPerRow) }},
	{"PG µs/row", func(_ Result, s Side) string { return number(s.ServerMicrosecondsPerRow) }},
	{"Go µs/row", func(_ Result, s Side) string { return number(s.GoMicrosecondsPerRow) }},
	{"backend MB", func(_ Result, s Side) string { return number(float64(s.BackendPeakBytes) / 1e6) }},
	{"private MB", func(_ Result, s Side) string { return number(float64(s.BackendPrivateBytes) / 1e6) }},
	{"front MB", func(_ Result, s Side) string { return number(float64(s.FrontPeakBytes) / 1e6) }},
	{"program MB", func(_ Result, s Side) string { return number(float64(s.ProgramPeakBytes) / 1e6) }},
}

// line is a subject, with the limit it is held against, or that limit.
type line struct {
	name         string
	result       Result
	side         Side
	limit, ratio string
}

func writeTable(w io.Writer, c Case, results []Result) error {
	fmt.Fprintf(w, "\ncase %d  %s\n", c.Number, c.Title)
	if c.Limit != "" {
		fmt.Fprintf(w, "        held against: %s\n", c.Limit)
	}
	fmt.Fprintln(w)
	var lines []line
	for _, r := range results {
		subject := line{name: r.Variant, result: r, side: r.Subject}
		if r.Limit != nil {
			subject.limit, subject.ratio = number(r.Limit.Figure.Median), spread(*r.Ratio)
		}
		lines = append(lines, subject)
		if r.Limit != nil {
			lines = append(lines, line{name: "  " + r.LimitName, result: r, side: *r.Limit})
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	header, rows := []string{}, make([][]string, len(lines))
	add := func(name string, cell func(line) string) {
		cells, empty := make([]string, len(lines)), true
		for i, l := range lines {
			cells[i] = cell(l)
			empty = empty && cells[i] == ""
		}
		if empty {
			return
		}
		header = append(header, name)
		for i := range rows {
			rows[i] = append(rows[i], cells[i])
		}
	}
	for _, c := range columns {
		add(c.name, func(l line) string { return c.cell(l.result, l.side) })
	}
	add("limit", func(l line) string { return l.limit })
	add("ratio", func(l line) string { return l.ratio })

	width := len("variant")
	for _, l := range lines {
		width = max(width, len([]rune(l.name)))
	}
	// Names stand left, figures right: tabwriter aligns all of them alike.
	fmt.Fprintf(table, "%-*s\t%s\t\n", width, "variant", strings.Join(header, "\t"))
	for i, l := range lines {
		fmt.Fprintf(table, "%-*s\t%s\t\n", width, l.name, strings.Join(rows[i], "\t"))
	}
	return table.Flush()
}

func spread(s Summary) string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Min, s.Max)
}

// number has three digits that count, or all before the point, in groups of three; nothing for 0,
// which is what was not measured.
func number(value float64) string {
	switch {
	case value == 0:
		return ""
	case value < 0:
		return "-" + number(-value)
	case value < 1:
		return strconv.FormatFloat(value, 'f', 3, 64)
	case value < 10:
		return strconv.FormatFloat(value, 'f', 2, 64)
	case value < 100:
		return strconv.FormatFloat(value, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(value, 'f', 0, 64)
	var grouped strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			grouped.WriteByte(',')
		}
		grouped.WriteRune(digit)
	}
	return grouped.String()
}
