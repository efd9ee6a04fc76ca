package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/runtime/server"
)

const environmentPrefix = "PGTIDE_"

// testPrefix is of what `make test` reads, which a shell may well have when it starts a server.
const testPrefix = environmentPrefix + "TEST_"

// environmentName is where a setting may be given instead: --app-name as PGTIDE_APP_NAME.
func environmentName(flag string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// serveSettings are what can be set about serving; docs/settings.md lists them for readers.
func serveSettings() []cli.Flag {
	standard := server.Config{}.WithDefaults(0)
	return slices.Concat(
		grouped("Addresses",
			text("addr", "`HOST:PORT` to listen on", "127.0.0.1:8080"),
			text("operator-addr", "`HOST:PORT` for the routes of operators, open to whoever reaches it", ""),
			text("operator-token", "`TOKEN` that opens the routes of operators on the first address; nobody may look there without one", ""),
			text("cors-origins", "`ORIGINS` of web pages that may call, as https://app.example, separated by spaces; * is any", ""),
		),
		grouped("Identity: one of jwt-secret, jwt-key-file, jwks-url, trust-user-header",
			text("jwt-secret", "`SECRET` that signs the tokens of users, at least 32 bytes; better given in the environment", ""),
			text("jwt-key-file", "`FILE` with the public key of whoever signs the tokens, or a certificate, in PEM", ""),
			text("jwks-url", "`URL` where the issuer of tokens publishes its keys", ""),
			text("trust-user-header", "for development: `HEADER` that names the user, believed without a token; on loopback addresses only", ""),
			text("jwt-issuer", "`ISSUER` that tokens must name", ""),
			text("jwt-audience", "`AUDIENCES` of which tokens must name one, separated by spaces", ""),
			text("jwt-user-claim", "`CLAIM` that holds the user", "sub"),
			interval("jwt-leeway", "how far the clock of the issuer may be off", 0),
		),
		grouped("About the application",
			text("app-name", "`NAME` told to devices", ""),
		),
		grouped("The database",
			toggle("prepared-statements", "prepare statements by name; not with listen-url, unless it is said: poolers in transaction mode may not keep them", true),
		),
		grouped("Watching",
			toggle("watch", "tell devices that watch of changes", true),
			toggle("listen", "hear of changes by LISTEN; without it the log is polled", true),
			text("listen-url", "`URL` of the database for LISTEN, where the other one leads to a pooler in transaction mode", ""),
			interval("watch-poll-interval", "between two looks at the log while LISTEN does not work or is not wanted", standard.Watch.PollInterval),
			interval("heartbeat-interval", "between two signs of life in a stream without news", standard.HeartbeatInterval),
			number("max-watches-per-user", "streams of one user that watch at a time", int64(standard.MaxWatchesPerUser)),
		),
		grouped("Limits",
			number("max-header-bytes", "longest header of a request", maxHeaderBytes),
			number("max-body-bytes", "longest body of a request", standard.MaxBodyBytes),
			number("max-pull-bytes", "payload of a page of a pull, unless its first bundle alone has more", standard.MaxPullBytes),
			number("buffer-bytes", "part of an answer that is held in memory; longer ones are streamed", int64(standard.BufferBytes)),
			number("max-streams", "answers that are streamed at a time; 0 is a quarter of the connections to the database", 0),
			number("max-streams-per-user", "of these to one user; 0 is half of them", 0),
			number("max-requests-per-user", "requests of one user that are answered at a time; 0 is half of the connections", 0),
			number("requests-per-user", "requests that one user may make in a second, on average over ten", requestsPerUser),
		),
		grouped("Timeouts",
			interval("header-timeout", "for a client to send the header of a request", headerTimeout),
			interval("idle-timeout", "for a connection that nobody uses", idleTimeout),
			interval("queue-timeout", "for a request to get a connection to the database", standard.QueueTimeout),
			interval("request-timeout", "for a request, snapshots excepted", standard.RequestTimeout),
			interval("lock-timeout", "for a push to get a row that somebody else changes", standard.LockTimeout),
			interval("stream-timeout", "for a snapshot", standard.StreamTimeout),
			interval("write-timeout", "for a client to take a piece of an answer", standard.WriteTimeout),
			interval("shutdown-timeout", "for requests to finish after SIGTERM", shutdownTimeout),
		),
	)
}

// grouped puts flags under a heading of --help.
func grouped(heading string, flags ...cli.Flag) []cli.Flag {
	for _, flag := range flags {
		switch f := flag.(type) {
		case *cli.StringFlag:
			f.Category = heading
		case *cli.BoolFlag:
			f.Category = heading
		case *cli.Int64Flag:
			f.Category = heading
		case *cli.DurationFlag:
			f.Category = heading
		}
	}
	return flags
}

func text(name, usage, standard string) cli.Flag {
	return &cli.StringFlag{Name: name, Usage: usage, Value: standard, Sources: cli.EnvVars(environmentName(name)), Validator: notEmpty}
}

func toggle(name, usage string, standard bool) cli.Flag {
	return &cli.BoolFlag{Name: name, Usage: usage, Value: standard, Sources: cli.EnvVars(environmentName(name))}
}

func number(name, usage string, standard int64) cli.Flag {
	return &cli.Int64Flag{Name: name, Usage: usage, Value: standard, Sources: cli.EnvVars(environmentName(name)), Validator: notNegative[int64](standard)}
}

func interval(name, usage string, standard time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: name, Usage: usage, Value: standard, Sources: cli.EnvVars(environmentName(name)), Validator: notNegative[time.Duration](standard)}
}

// notEmpty: an address that is empty would be every address, and an issuer that is empty anybody. A
// variable of the environment that somebody forgot to fill must not open anything.
func notEmpty(value string) error {
	if strings.TrimSpace(value) == "" {
		return errors.New("it is empty: give it a value, or leave it out")
	}
	return nil
}

// notNegative takes 0 only where 0 is the standard, and means something.
func notNegative[T int64 | time.Duration](standard T) func(T) error {
	return func(value T) error {
		if value < 0 || (value == 0 && standard != 0) {
			return fmt.Errorf("%v is too small", value)
		}
		return nil
	}
}

// refuseSettings looks for names that are no setting, and for those without a value: a misspelt limit is
// no limit, and one that is empty would be ignored.
func refuseSettings(environment []string, cmd *cli.Command) error {
	known := map[string]bool{}
	for _, flag := range cmd.Flags {
		known[environmentName(flag.Names()[0])] = true
	}
	for _, entry := range environment {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case !strings.HasPrefix(name, environmentPrefix), strings.HasPrefix(name, testPrefix):
		case !known[name]:
			return wrongUsage("there is no setting %s; %s --help lists them", name, cmd.FullName())
		case value == "":
			return wrongUsage("%s is empty: give it a value, or leave it out", name)
		}
	}
	return nil
}

// listed are the words of a setting that has several.
func listed(setting string) []string { return strings.Fields(setting) }
