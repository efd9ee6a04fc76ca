package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/db"
)

// bundlesPerRead bounds one read of tail; a follower that begins at 0 goes through the log in such steps.
const bundlesPerRead = 500

func tailCommand() *cli.Command {
	return &cli.Command{
		Name:  "tail",
		Usage: "print bundles as they are sealed",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "bucket", Usage: "only this `BUCKET`; may be given several times"},
			&cli.Int64Flag{Name: "after", Value: -1, Usage: "begin after this `BUNDLE_ID`; without it, with what comes next"},
			&cli.BoolFlag{Name: "follow", Value: true, Usage: "go on until interrupted; --follow=false ends at the newest bundle"},
			&cli.BoolFlag{Name: "json", Usage: "one JSON object a change"},
			&cli.DurationFlag{Name: "poll", Value: 200 * time.Millisecond, Usage: "look for new bundles at this `INTERVAL`"},
		},
		Action: tail,
	}
}

func tail(ctx context.Context, cmd *cli.Command) error {
	pool, err := connect(ctx, cmd)
	if err != nil {
		return err
	}
	defer pool.Close()
	queries := db.New(pool)
	print := printText
	if cmd.Bool("json") {
		print = printJSON
	}
	after := cmd.Int64("after")
	for {
		head, err := queries.Head(ctx)
		if err == nil && after < 0 {
			after = head
		}
		for err == nil && after < head {
			upTo := min(after+bundlesPerRead, head)
			var changes []db.ChangesBetweenRow
			changes, err = queries.ChangesBetween(ctx, db.ChangesBetweenParams{
				AfterBundleID: after, UpToBundleID: upTo, Buckets: append([]string{}, cmd.StringSlice("bucket")...),
			})
			if err == nil {
				err = print(cmd.Root().Writer, changes)
				after = upTo
			}
		}
		if ctx.Err() != nil {
			return nil // interrupted, as asked
		}
		if err != nil {
			return fmt.Errorf("read bundles: %w", err)
		}
		if !cmd.Bool("follow") {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(cmd.Duration("poll")):
		}
	}
}

func printText(out io.Writer, changes []db.ChangesBetweenRow) error {
	for i, c := range changes {
		if i == 0 || changes[i-1].BundleID != c.BundleID || changes[i-1].BucketID != c.BucketID {
			if _, err := fmt.Fprintf(out, "bundle %d  %s #%d  from %s #%d  %s\n", c.BundleID, c.BucketID, c.BundleSeq,
				c.SourceID, c.SourceBundleID, c.SealedAt.Time.UTC().Format("2006-01-02 15:04:05.000")); err != nil {
				return err
			}
		}
		payload := ""
		if c.Op != "DELETE" {
			payload = string(c.Payload)
		}
		if _, err := fmt.Fprintf(out, "  %-6s %s.%s %s %s\n", c.Op, c.TableSchema, c.TableName, c.Key, payload); err != nil {
			return err
		}
	}
	return nil
}

// change is what tail --json prints. Keys and payloads pass through as the bytes of the log.
type change struct {
	BundleID       int64           `json:"bundle_id"`
	BucketID       string          `json:"bucket_id"`
	BundleSeq      int64           `json:"bundle_seq"`
	SourceID       string          `json:"source_id"`
	SourceBundleID int64           `json:"source_bundle_id"`
	SealedAt       time.Time       `json:"sealed_at"`
	Schema         string          `json:"schema"`
	Table          string          `json:"table"`
	Key            json.RawMessage `json:"key"`
	Op             string          `json:"op"`
	Payload        json.RawMessage `json:"payload"`
}

func printJSON(out io.Writer, changes []db.ChangesBetweenRow) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, c := range changes {
		if err := encoder.Encode(change{
			BundleID: c.BundleID, BucketID: c.BucketID, BundleSeq: c.BundleSeq, SourceID: c.SourceID, SourceBundleID: c.SourceBundleID,
			SealedAt: c.SealedAt.Time.UTC(), Schema: c.TableSchema, Table: c.TableName, Key: c.Key, Op: c.Op, Payload: c.Payload,
		}); err != nil {
			return err
		}
	}
	return nil
}
