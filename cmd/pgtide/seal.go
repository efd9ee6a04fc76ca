package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/runtime/sealer"
)

func sealCommand() *cli.Command {
	return &cli.Command{
		Name:  "seal",
		Usage: "seal what is committed, and print the last bundle_id",
		Flags: []cli.Flag{&cli.DurationFlag{
			Name:  "every",
			Usage: "go on until interrupted, sealing at this `INTERVAL` (100ms, 1s) while there is something to seal",
		}},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.IsSet("every") && cmd.Duration("every") <= 0 {
				return cli.Exit("--every must be longer than nothing", exitUsage)
			}
			pool, err := connect(ctx, cmd)
			if err != nil {
				return err
			}
			defer pool.Close()
			if !cmd.IsSet("every") {
				last, err := sealer.Seal(ctx, pool)
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.Root().Writer, last)
				return nil
			}
			return sealer.Run(ctx, pool, sealer.Config{
				Interval: cmd.Duration("every"),
				Logger:   slog.New(slog.NewTextHandler(cmd.Root().ErrWriter, nil)),
			})
		},
	}
}
