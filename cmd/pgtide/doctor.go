package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/db"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "say what is wrong, why it matters, and the SQL that mends it; exit 1 if anything is an error",
		Action: func(ctx context.Context, cmd *cli.Command) error {
			pool, err := connect(ctx, cmd)
			if err != nil {
				return err
			}
			defer pool.Close()
			findings, err := db.New(pool).Check(ctx)
			if err != nil {
				return fmt.Errorf("check: %w", err)
			}
			out := cmd.Root().Writer
			failed := false
			for _, f := range findings {
				failed = failed || f.Severity == "error"
				subject := ""
				if f.TableName != "" {
					subject = f.TableName + ": "
				}
				fmt.Fprintf(out, "%-7s  %s%s. %s  ->  %s\n", f.Severity, subject, f.Finding, f.Detail, f.Remedy)
			}
			if len(findings) == 0 {
				fmt.Fprintln(out, "all is well")
			}
			if failed {
				return cli.Exit("", exitFailed)
			}
			return nil
		},
	}
}
