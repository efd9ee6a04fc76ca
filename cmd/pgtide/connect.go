package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/urfave/cli/v3"
)

func databaseURL(cmd *cli.Command) (string, error) {
	url := cmd.String("database-url")
	if url == "" {
		return "", wrongUsage("no database given: set DATABASE_URL, or pass --database-url")
	}
	if _, err := pgx.ParseConfig(url); err != nil {
		return "", wrongUsage("the database URL cannot be read: %v", err)
	}
	return url, nil
}

// prepares says whether statements are prepared by name. Commands that send few of them do not, so that they
// also work through a pooler in transaction mode.
func prepares(cmd *cli.Command) bool {
	return cmd.Bool("prepared-statements") && (cmd.IsSet("prepared-statements") || cmd.String("listen-url") == "")
}

// connect prepares connections; the first is made when it is used.
func connect(ctx context.Context, cmd *cli.Command, change ...func(*pgxpool.Config)) (*pgxpool.Pool, error) {
	config, err := poolSettings(cmd)
	if err != nil {
		return nil, err
	}
	for _, f := range change {
		f(config)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return pool, nil
}

func poolSettings(cmd *cli.Command) (*pgxpool.Config, error) {
	url, err := databaseURL(cmd)
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, wrongUsage("the database URL cannot be read: %v", err)
	}
	if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement && !prepares(cmd) {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "pgtide " + cmd.Name
	}
	return config, nil
}
