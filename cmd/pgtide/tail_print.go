package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/pgtide/pgtide/db"
)

// textPrinter prints a line for the bundle, then one for each change.
type textPrinter struct{ out io.Writer }

func (p textPrinter) bundle(b db.BundlesAfterRow) error {
	label := ""
	if b.Label != "" {
		label = "  " + b.Label
	}
	_, err := fmt.Fprintf(p.out, "bundle %d  %s #%d  from %s #%d  %s  changes %d%s\n", b.BundleID, b.BucketID, b.BundleSeq,
		b.SourceID, b.SourceBundleID, b.SealedAt.Time.UTC().Format("2006-01-02T15:04:05.000Z"), b.ChangeCount, label)
	return err
}

func (p textPrinter) change(_ db.BundlesAfterRow, c db.ChangesBetweenRow) error {
	payload := ""
	if c.Op != "DELETE" {
		payload = " " + string(c.Payload)
	}
	_, err := fmt.Fprintf(p.out, "  %-6s %s.%s %s%s\n", c.Op, c.TableSchema, c.TableName, c.Key, payload)
	return err
}

// change is a line of tail --json. Keys and payloads are the bytes of the log: no number loses a digit.
type change struct {
	BundleID       int64           `json:"bundle_id"`
	BucketID       string          `json:"bucket_id"`
	BundleSeq      int64           `json:"bundle_seq"`
	SourceID       string          `json:"source_id"`
	SourceBundleID int64           `json:"source_bundle_id"`
	Label          string          `json:"label,omitempty"`
	SealedAt       time.Time       `json:"sealed_at"`
	RowOrdinal     *int64          `json:"row_ordinal,omitempty"`
	TableSchema    string          `json:"table_schema,omitempty"`
	TableName      string          `json:"table_name,omitempty"`
	Key            json.RawMessage `json:"key,omitempty"`
	Op             string          `json:"op,omitempty"`
	Payload        json.RawMessage `json:"payload,omitempty"`
}

type jsonPrinter struct{ encoder *json.Encoder }

func newJSONPrinter(out io.Writer) jsonPrinter {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return jsonPrinter{encoder}
}

func (p jsonPrinter) bundle(b db.BundlesAfterRow) error {
	if b.ChangeCount > 0 {
		return nil // its changes say it
	}
	return p.encoder.Encode(changeOf(b))
}

func (p jsonPrinter) change(b db.BundlesAfterRow, c db.ChangesBetweenRow) error {
	line := changeOf(b)
	line.RowOrdinal, line.TableSchema, line.TableName, line.Key, line.Op, line.Payload = &c.RowOrdinal, c.TableSchema, c.TableName, c.Key, c.Op, c.Payload
	return p.encoder.Encode(line)
}

func changeOf(b db.BundlesAfterRow) change {
	return change{
		BundleID: b.BundleID, BucketID: b.BucketID, BundleSeq: b.BundleSeq,
		SourceID: b.SourceID, SourceBundleID: b.SourceBundleID, Label: b.Label, SealedAt: b.SealedAt.Time.UTC(),
	}
}
