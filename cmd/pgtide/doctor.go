package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/db"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:   "doctor",
		Usage:  "say what is wrong, why it matters, and the SQL that mends it; exit 1 if anything is an error",
		Action: doctor,
	}
}

func doctor(ctx context.Context, cmd *cli.Command) error {
	pool, err := connect(ctx, cmd)
	if err != nil {
		return err
	}
	defer pool.Close()
	findings, err := db.New(pool).Check(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if len(findings) == 0 {
		fmt.Fprintln(cmd.Root().ErrWriter, "nothing found: all is well")
	}
	failed := false
	for _, f := range findings {
		failed = failed || f.Severity == "error"
		if _, err := fmt.Fprintln(cmd.Root().Writer, finding(f)); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	if failed {
		return cli.Exit("", exitFinding)
	}
	return nil
}

// finding is one line, also when a message of PostgreSQL in it had several.
func finding(f db.CheckRow) string {
	line := f.Severity + ": "
	if f.TableName != "" {
		line += f.TableName + ": "
	}
	line += f.Finding
	if f.Detail != "" {
		line += ": " + f.Detail
	}
	if f.Remedy != "" {
		line += " => " + f.Remedy
	}
	return oneLine(line)
}
