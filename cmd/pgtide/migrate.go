package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/internal/install"
)

func migrateCommand() *cli.Command {
	return &cli.Command{
		Name:   "migrate",
		Usage:  "install, upgrade or remove pgtide in the database",
		Action: group,
		Commands: []*cli.Command{
			{Name: "up", Usage: "apply the migrations that are missing", Action: migrateUp},
			{Name: "status", Usage: "list the migrations, and when each was applied", Action: migrateStatus},
			{
				Name:   "uninstall",
				Usage:  "remove pgtide with its whole log; your tables stay as they were",
				Flags:  []cli.Flag{&cli.BoolFlag{Name: "yes", Usage: "do it; without this flag nothing happens"}},
				Action: migrateUninstall,
			},
		},
	}
}

func migrateUp(ctx context.Context, cmd *cli.Command) error {
	url, err := databaseURL(cmd)
	if err != nil {
		return err
	}
	applied, err := install.Up(ctx, url)
	for _, m := range applied { // also those before one that failed
		fmt.Fprintf(cmd.Root().Writer, "applied %s\n", m.Name)
	}
	if err == nil && len(applied) == 0 {
		fmt.Fprintln(cmd.Root().ErrWriter, "nothing to do: every migration is applied")
	}
	return err
}

func migrateStatus(ctx context.Context, cmd *cli.Command) error {
	url, err := databaseURL(cmd)
	if err != nil {
		return err
	}
	all, err := install.Status(ctx, url)
	if err != nil {
		return err
	}
	for _, m := range all {
		when := "missing"
		if m.Applied {
			when = m.AppliedAt.Format(time.DateTime)
		}
		fmt.Fprintf(cmd.Root().Writer, "%-19s  %s\n", when, m.Name)
	}
	return nil
}

func migrateUninstall(ctx context.Context, cmd *cli.Command) error {
	url, err := databaseURL(cmd)
	if err != nil {
		return err
	}
	if !cmd.Bool("yes") {
		return wrongUsage("this deletes the whole log, and every device will have to fetch its rows anew; say --yes to do it")
	}
	return install.UninstallSaying(ctx, url, func(line string) { fmt.Fprintln(cmd.Root().Writer, line) })
}
