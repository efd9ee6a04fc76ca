package main

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/internal/install"
)

func sqlCommand() *cli.Command {
	return &cli.Command{
		Name:  "sql",
		Usage: "print a psql script that installs or upgrades pgtide: pgtide sql | psql -X \"$DATABASE_URL\"",
		Action: func(_ context.Context, cmd *cli.Command) error {
			script, err := install.Script()
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.Root().Writer, script)
			return err
		},
	}
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version of this program",
		Action: func(_ context.Context, cmd *cli.Command) error {
			version := "(unknown)"
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
			}
			_, err := fmt.Fprintf(cmd.Root().Writer, "pgtide %s\n", version)
			return err
		},
	}
}
