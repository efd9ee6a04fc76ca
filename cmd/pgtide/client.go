package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/client"
)

// clientCommand is a device on the command line.
func clientCommand() *cli.Command {
	from := func(name string) cli.ValueSourceChain { return cli.EnvVars(environmentName(name)) }
	return &cli.Command{
		Name:  "client",
		Usage: "be a device: a SQLite file that stays in sync",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "file", Value: "pgtide.db", Usage: "the SQLite `FILE`", Sources: from("file"), Validator: notEmpty},
			&cli.StringFlag{Name: "url", Value: "http://127.0.0.1:8080", Usage: "`URL` of the server, without /sync", Sources: from("url"), Validator: notEmpty},
			&cli.StringFlag{Name: "token", Usage: "bearer `TOKEN` of the user; better given in the environment", Sources: from("token")},
			&cli.StringFlag{Name: "user", Usage: "`USER` whose file it is; without it, the one whom the token names", Sources: from("user")},
		},
		Action: group,
		Commands: []*cli.Command{
			{Name: "init", Usage: "make the file and its tables, as the server describes them", Action: onDevice(printStatus)},
			{Name: "sync", Usage: "sync once", Action: onDevice(func(ctx context.Context, c *client.Client, cmd *cli.Command) error {
				if err := c.Sync(ctx); err != nil {
					return err
				}
				return printStatus(ctx, c, cmd)
			})},
			{Name: "watch", Usage: "stay in sync until interrupted, and print which tables the server changed", Action: onDevice(watchDevice)},
			{Name: "sql", Usage: "run SQL on the file: --command, or what comes on standard input", Action: onDevice(deviceSQL),
				Flags: []cli.Flag{&cli.StringFlag{Name: "command", Aliases: []string{"c"}, Usage: "the `SQL`"}}},
			{Name: "status", Usage: "print what waits", Action: onDevice(printStatus)},
			{Name: "conflicts", Usage: "print conflicts and what became of them, one JSON object a line", Action: onDevice(func(ctx context.Context, c *client.Client, cmd *cli.Command) error {
				list, err := c.Conflicts(ctx, 0)
				if err := printLines(cmd, list, err); err != nil || !cmd.Bool("forget") || len(list) == 0 {
					return err
				}
				return c.ForgetConflicts(ctx, list[len(list)-1].ID)
			}), Flags: []cli.Flag{&cli.BoolFlag{Name: "forget", Usage: "and list them no more"}}},
			{Name: "deadletter", Usage: "print changes that the server refuses, one JSON object a line", Action: onDevice(deadLetters),
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "retry", Usage: "send `TABLE:KEY` again"},
					&cli.StringFlag{Name: "discard", Usage: "give `TABLE:KEY` up: the row is again as the server has it"},
				}},
			{Name: "inbox", Usage: "print rows of the server that do not fit into the file, one JSON object a line", Action: onDevice(func(ctx context.Context, c *client.Client, cmd *cli.Command) error {
				list, err := c.Inbox(ctx)
				return printLines(cmd, list, err)
			})},
			{Name: "verify", Usage: "compare with the server and fetch what differs", Action: onDevice(func(ctx context.Context, c *client.Client, cmd *cli.Command) error {
				v, err := c.Verify(ctx)
				if err != nil {
					return err
				}
				for _, row := range v.Repaired {
					fmt.Fprintln(cmd.Root().Writer, "repaired", row)
				}
				fmt.Fprintln(cmd.Root().ErrWriter, v.Rows, "rows compared,", len(v.Repaired), "repaired")
				return nil
			})},
		},
	}
}

// onDevice opens the file for a command.
func onDevice(f func(context.Context, *client.Client, *cli.Command) error) cli.ActionFunc {
	return func(ctx context.Context, cmd *cli.Command) error {
		user, token := cmd.String("user"), cmd.String("token")
		if user == "" {
			// Whether it is valid is for the server to say.
			var claims jwt.RegisteredClaims
			if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil || claims.Subject == "" {
				return wrongUsage("whose file is it? Give --user, or a --token that names him")
			}
			user = claims.Subject
		}
		c, err := client.Open(ctx, cmd.String("file"), client.Config{
			URL: strings.TrimSuffix(cmd.String("url"), "/"), User: user, Platform: "pgtide client",
			Token:  func(context.Context) (string, error) { return token, nil },
			Logger: slog.New(slog.NewTextHandler(cmd.Root().ErrWriter, &slog.HandlerOptions{Level: slog.LevelInfo})),
		})
		if err != nil {
			return err
		}
		err = f(ctx, c, cmd)
		if e := c.Close(); err == nil {
			err = e
		}
		return err
	}
}

func printStatus(ctx context.Context, c *client.Client, cmd *cli.Command) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	buckets := strings.Join(s.Buckets, " ")
	if buckets == "" {
		buckets = "none yet: sync brings them"
	}
	_, err = fmt.Fprintf(cmd.Root().Writer, "file %s  user %s  source %s\nto push %d  refused %d  inbox %d  conflicts %d\ntables %s\nbuckets %s\n",
		cmd.String("file"), s.User, s.Source, s.Pending, s.Refused, s.Inbound, s.Conflicts, strings.Join(s.Tables, " "), buckets)
	if err == nil && s.Misfit != "" {
		_, err = fmt.Fprintln(cmd.Root().Writer, "the server has more by now:", s.Misfit)
	}
	return err
}

func watchDevice(ctx context.Context, c *client.Client, cmd *cli.Command) error {
	changes := c.Changes()
	defer changes.Close()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			if ctx.Err() != nil {
				return nil // interrupted
			}
			return err
		case <-changes.C:
			if _, err := fmt.Fprintln(cmd.Root().Writer, "changed", strings.Join(changes.Take(), " ")); err != nil {
				return err
			}
		}
	}
}

func deviceSQL(ctx context.Context, c *client.Client, cmd *cli.Command) error {
	text := cmd.String("command")
	if text == "" {
		all, err := io.ReadAll(os.Stdin)
		if err != nil {
			return fmt.Errorf("read SQL: %w", err)
		}
		text = string(all)
	}
	rows, err := c.DB().QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err says it.
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		fields := make([]string, len(values))
		for i, v := range values {
			fields[i] = v.String
		}
		if _, err := fmt.Fprintln(cmd.Root().Writer, strings.Join(fields, "\t")); err != nil {
			return err
		}
	}
	return rows.Err()
}

func deadLetters(ctx context.Context, c *client.Client, cmd *cli.Command) error {
	for name, f := range map[string]func(context.Context, string, string) error{"retry": c.Retry, "discard": c.Discard} {
		if !cmd.IsSet(name) {
			continue
		}
		table, key, ok := strings.Cut(cmd.String(name), ":")
		if !ok {
			return wrongUsage("--%s takes TABLE:KEY, as deadletter prints them", name)
		}
		if err := f(ctx, table, key); err != nil {
			return err
		}
	}
	list, err := c.DeadLetters(ctx)
	return printLines(cmd, list, err)
}

func printLines[T any](cmd *cli.Command, list []T, err error) error {
	if err != nil {
		return err
	}
	lines := json.NewEncoder(cmd.Root().Writer)
	lines.SetEscapeHTML(false)
	for one := range slices.Values(list) {
		if err := lines.Encode(one); err != nil {
			return err
		}
	}
	return nil
}
