package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/db"
)

func tailCommand() *cli.Command {
	return &cli.Command{
		Name:  "tail",
		Usage: "print bundles as they are sealed",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "bucket", Usage: "only this `BUCKET`; may be given several times"},
			&cli.Int64Flag{Name: "after", Value: -1, HideDefault: true, Usage: "begin after this `BUNDLE_ID`; without it, with what comes next"},
			&cli.BoolFlag{Name: "follow", Value: true, Usage: "go on until interrupted; --follow=false ends at the newest bundle"},
			&cli.BoolFlag{Name: "json", Usage: "one JSON object a line for each change"},
			&cli.DurationFlag{Name: "poll", Value: 200 * time.Millisecond, Usage: "look for new bundles at this `INTERVAL`"},
		},
		Action: tail,
	}
}

func tail(ctx context.Context, cmd *cli.Command) error {
	switch {
	case cmd.IsSet("after") && cmd.Int64("after") < 0:
		return wrongUsage("--after is a bundle_id, 0 is before the first")
	case cmd.Duration("poll") <= 0:
		return wrongUsage("--poll must be longer than nothing")
	}
	pool, err := connect(ctx, cmd)
	if err != nil {
		return err
	}
	defer pool.Close()
	t := follower{
		pool:    pool,
		buckets: append([]string{}, cmd.StringSlice("bucket")...), // not nil, which is NULL in SQL
		print:   textPrinter{cmd.Root().Writer},
		stderr:  cmd.Root().ErrWriter,
	}
	if cmd.Bool("json") {
		t.print = newJSONPrinter(cmd.Root().Writer)
	}
	head, err := db.New(pool).Head(ctx)
	if err != nil {
		return orInterrupted(ctx, fmt.Errorf("read the head of the log: %w", err))
	}
	t.bundleID, t.patient = head+1, cmd.Bool("follow")
	if cmd.IsSet("after") {
		t.bundleID = cmd.Int64("after") + 1
	}
	for {
		if err := t.catchUp(ctx); err != nil {
			return orInterrupted(ctx, err)
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

// orInterrupted turns what failed because of Ctrl-C into the end that was asked for.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
