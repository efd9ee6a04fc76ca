// Command pgtide installs pgtide into a PostgreSQL database, seals its log, and looks into it.
//
// Exit codes: 0 all well; 1 the command failed, or doctor found an error; 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/urfave/cli/v3"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	usage := false
	app := &cli.Command{
		Name:      "pgtide",
		Usage:     "the sync layer inside your PostgreSQL",
		Writer:    stdout,
		ErrWriter: stderr,
		Flags: []cli.Flag{&cli.StringFlag{
			Name:    "database-url",
			Usage:   "connection string of the database, `URL` or key=value",
			Sources: cli.EnvVars("DATABASE_URL"),
		}},
		Commands:       []*cli.Command{migrateCommand(), sqlCommand(), sealCommand(), tailCommand(), doctorCommand(), versionCommand()},
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		OnUsageError: func(_ context.Context, _ *cli.Command, err error, _ bool) error {
			usage = true
			return err
		},
		CommandNotFound: func(_ context.Context, _ *cli.Command, name string) {
			usage = true
			fmt.Fprintf(stderr, "pgtide: there is no command %q; pgtide help lists them\n", name)
		},
	}
	inherit(app.Commands, app.OnUsageError)
	err := app.Run(ctx, args)
	var exit cli.ExitCoder
	switch {
	case errors.As(err, &exit):
		if exit.Error() != "" {
			fmt.Fprintf(stderr, "pgtide: %s\n", exit.Error())
		}
		return exit.ExitCode()
	case err != nil && usage:
		fmt.Fprintf(stderr, "pgtide: %v\n", err)
		return exitUsage
	case err != nil:
		fmt.Fprintf(stderr, "pgtide: %s\n", explain(err))
		return exitFailed
	case usage:
		return exitUsage
	}
	return 0
}

func inherit(commands []*cli.Command, handler cli.OnUsageErrorFunc) {
	for _, c := range commands {
		c.OnUsageError = handler
		inherit(c.Commands, handler)
	}
}

// explain adds what PostgreSQL says beyond its message.
func explain(err error) string {
	text := err.Error()
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		if pgErr.Detail != "" {
			text += "\nDETAIL: " + pgErr.Detail
		}
		if pgErr.Hint != "" {
			text += "\nHINT: " + pgErr.Hint
		}
		if pgErr.Code == "3F000" || pgErr.Code == "42883" || pgErr.Code == "42P01" {
			text += "\nHINT: Is pgtide installed in this database? pgtide migrate up installs it."
		}
	}
	return text
}

func databaseURL(cmd *cli.Command) (string, error) {
	url := cmd.String("database-url")
	if url == "" {
		return "", cli.Exit("no database given: set DATABASE_URL, or pass --database-url", exitUsage)
	}
	return url, nil
}

func connect(ctx context.Context, cmd *cli.Command) (*pgxpool.Pool, error) {
	url, err := databaseURL(cmd)
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, cli.Exit(fmt.Sprintf("the database URL cannot be read: %v", err), exitUsage)
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "pgtide"
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return pool, nil
}
