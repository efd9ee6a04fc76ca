package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Report is what one run of the benchmark found.
type Report struct {
	Commit    string    `json:"commit"`
	Size      string    `json:"size"`
	StartedAt time.Time `json:"started_at"`
	Seconds   float64   `json:"seconds"`
	Machine   Machine   `json:"machine"`
	Results   []Result  `json:"results"`
}

// Result is one comparison.
type Result struct {
	Case          int    `json:"case"`
	Variant       string `json:"variant"`
	Unit          string `json:"unit"`
	LowerIsBetter bool   `json:"lower_is_better,omitempty"`
	Subject       Side   `json:"subject"`
	Limit         *Side  `json:"limit,omitempty"`
	LimitName     string `json:"limit_name,omitempty"`
	// Ratio of each round: 1 is as fast as the limit.
	Ratio *Summary `json:"ratio,omitempty"`
}

// Side is what was measured of a subject or of a limit: medians of its runs, and the largest peaks.
type Side struct {
	Figure          Summary `json:"figure"`
	Runs            int     `json:"runs"`
	Rows            int64   `json:"rows"`
	Seconds         float64 `json:"seconds"`
	RowsPerSecond   float64 `json:"rows_per_second"`
	BytesPerSecond  float64 `json:"bytes_per_second,omitempty"`
	P50Milliseconds float64 `json:"p50_ms,omitempty"`
	P99Milliseconds float64 `json:"p99_ms,omitempty"`
	WALBytesPerRow  float64 `json:"wal_bytes_per_row"`
	GoBytesPerRow   float64 `json:"go_bytes_per_row"`
	// CPU time of PostgreSQL's backends, and of the HTTP front or the program.
	ServerMicrosecondsPerRow float64 `json:"server_us_per_row"`
	GoMicrosecondsPerRow     float64 `json:"go_us_per_row"`
	BackendPeakBytes         int64   `json:"backend_peak_bytes,omitempty"`
	BackendPrivateBytes      int64   `json:"backend_private_bytes,omitempty"`
	ProgramPeakBytes         int64   `json:"program_peak_bytes,omitempty"`
	FrontPeakBytes           int64   `json:"front_peak_bytes,omitempty"`
}

func (r Result) same(other Result) bool { return r.Case == other.Case && r.Variant == other.Variant }

func loadReport(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err // it names the file
	}
	var report Report
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return &report, nil
}

func (r *Report) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err // it names the directory
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// over is this report with the cases of an older one that it did not run. Figures of another machine
// or size do not mix.
func (r *Report) over(older *Report) *Report {
	if older == nil || older.Size != r.Size || !older.Machine.same(r.Machine) {
		return r
	}
	ran := map[int]bool{}
	for _, result := range r.Results {
		ran[result.Case] = true
	}
	merged := *r
	merged.Results = slices.Clone(r.Results)
	for _, result := range older.Results {
		if !ran[result.Case] {
			merged.Results = append(merged.Results, result)
		}
	}
	slices.SortStableFunc(merged.Results, func(a, b Result) int { return cmp.Compare(a.Case, b.Case) })
	return &merged
}
