package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/internal/install"
)

func sqlCommand() *cli.Command {
	return &cli.Command{
		Name:  "sql",
		Usage: "print the psql script that installs or upgrades pgtide: pgtide sql | psql -X \"$DATABASE_URL\"",
		Action: func(_ context.Context, cmd *cli.Command) error {
			script, err := install.Script()
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.Root().Writer, script)
			return err
		},
	}
}
