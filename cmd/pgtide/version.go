package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/migrations"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version that this program installs; SELECT tide.version() is the one of the database",
		Action: func(_ context.Context, cmd *cli.Command) error {
			_, err := fmt.Fprintf(cmd.Root().Writer, "pgtide %s\n", migrations.Version())
			return err
		},
	}
}
