package main

import (
	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/runtime/watch"
)

// watchSettings say how serve hears of changes.
func watchSettings(cmd *cli.Command) (watch.Config, error) {
	config := watch.Config{PollOnly: !cmd.Bool("listen"), PollInterval: cmd.Duration("watch-poll-interval")}
	url := cmd.String("listen-url")
	switch {
	case url == "":
		return config, nil
	case config.PollOnly:
		return config, wrongUsage("--listen-url says where to listen, and --listen=false not to: give one of them")
	case !cmd.Bool("watch"):
		return config, wrongUsage("--listen-url says where to listen for those who watch, and --watch=false that nobody does: give one of them")
	}
	var err error
	if config.Listen, err = pgx.ParseConfig(url); err != nil {
		return config, wrongUsage("--listen-url cannot be read: %v", err)
	}
	if config.Listen.RuntimeParams["application_name"] == "" {
		config.Listen.RuntimeParams["application_name"] = "pgtide serve"
	}
	return config, nil
}
