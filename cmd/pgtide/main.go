// Command pgtide installs pgtide into a PostgreSQL database, seals its log, and looks into it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"
)

// Exit codes, listed in docs/cli.md. A script can tell a finding of doctor from a doctor that could
// not look.
const (
	exitFinding = 1
	exitUsage   = 2
	exitFailed  = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := refuseEmptyFlags(args)
	if err == nil {
		err = newApp(stdout, stderr).Run(ctx, args)
	}
	var exit cli.ExitCoder
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if exit.Error() != "" {
			fmt.Fprintf(stderr, "pgtide: %s\n", exit.Error())
		}
		return exit.ExitCode()
	case strings.HasPrefix(err.Error(), "could not parse "):
		// The library has no type for what it finds in the environment.
		fmt.Fprintf(stderr, "pgtide: %v\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "pgtide: %s\n", explain(err))
		return exitFailed
	}
}

func newApp(stdout, stderr io.Writer) *cli.Command {
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
		Commands:       []*cli.Command{migrateCommand(), sqlCommand(), sealCommand(), serveCommand(), devCommand(), tailCommand(), clientCommand(), doctorCommand(), versionCommand()},
		Action:         group,
		ArgValidator:   refuseArguments,
		ExitErrHandler: func(context.Context, *cli.Command, error) {}, // run decides
	}
	refuseWrongFlags(app)
	return app
}

// group is what a command does that only has others below it.
func group(_ context.Context, cmd *cli.Command) error {
	return wrongUsage("say what to do: %s --help lists it", cmd.FullName())
}

// refuseArguments refuses what is no flag: no command here takes any, and one that is ignored would
// be a mistake that nobody notices.
func refuseArguments(_ context.Context, cmd *cli.Command) error {
	switch {
	case !cmd.Args().Present() || cmd.Name == "help":
		return nil
	case len(cmd.Commands) > 1:
		return wrongUsage("there is no command %q; %s --help lists them", cmd.Args().First(), cmd.FullName())
	}
	return wrongUsage("%s takes no argument %q", cmd.FullName(), cmd.Args().First())
}

// refuseEmptyFlags: the library takes --watch= for --watch.
func refuseEmptyFlags(args []string) error {
	for _, arg := range args {
		if name, empty := strings.CutSuffix(arg, "="); empty && strings.HasPrefix(name, "-") && !strings.ContainsAny(name, "= ") {
			return wrongUsage("%s has no value: give it one, or leave the flag out", arg)
		}
	}
	return nil
}

func refuseWrongFlags(cmd *cli.Command) {
	cmd.OnUsageError = func(_ context.Context, cmd *cli.Command, err error, _ bool) error {
		return wrongUsage("%v; %s --help lists the flags", err, cmd.FullName())
	}
	// A bucket may have a comma in its name.
	cmd.DisableSliceFlagSeparator = true
	for _, c := range cmd.Commands {
		refuseWrongFlags(c)
	}
}

func wrongUsage(format string, args ...any) error {
	return cli.Exit(fmt.Sprintf(format, args...), exitUsage)
}
