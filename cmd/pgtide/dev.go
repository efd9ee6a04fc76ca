package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/examples/shop"
	"github.com/pgtide/pgtide/internal/cluster"
)

func devCommand() *cli.Command {
	return &cli.Command{
		Name:        "dev",
		Usage:       "try it: serve an example from a throwaway PostgreSQL, until Ctrl-C",
		Description: "It prints how to connect with psql and with curl. Settings are those of serve, except that tokens are signed with a secret, and statements prepared.",
		Flags:       devSettings(),
		Action:      dev,
	}
}

func devSettings() []cli.Flag {
	own := []string{"jwt-secret", "jwt-key-file", "jwks-url", "trust-user-header", "jwt-issuer", "jwt-audience", "jwt-user-claim", "jwt-leeway", "prepared-statements"}
	return slices.Concat(
		grouped("Database",
			text("server", "`URL` of the superuser of a server to make the example on, in a database that is dropped at the end; without it a server is started", "")),
		grouped("Identity",
			text("jwt-secret", "`SECRET` that signs the tokens of users, at least 32 bytes; drawn at random if not given", "")),
		slices.DeleteFunc(serveSettings(), func(flag cli.Flag) bool { return slices.Contains(own, flag.Names()[0]) }),
	)
}

const (
	// devCustomer is the customer of the shop whose token is printed.
	devCustomer   = "7"
	devTokenValid = 30 * 24 * time.Hour
)

const devReady = `A shop with 50 customers, registered as examples/shop/register.sql says, is served on %s.
The token is that of customer %s. Ctrl-C removes everything.

%s
`

func dev(ctx context.Context, cmd *cli.Command) error {
	if given := cmd.String("database-url"); given != os.Getenv("DATABASE_URL") {
		return wrongUsage("dev makes a database of its own and takes no --database-url; --server names a server to make it on")
	}
	if cmd.String("jwt-secret") == "" {
		if err := cmd.Set("jwt-secret", rand.Text()+rand.Text()); err != nil {
			return fmt.Errorf("draw a secret: %w", err)
		}
	}
	logger := slog.New(slog.NewJSONHandler(cmd.Root().ErrWriter, nil))
	guard, err := guards(ctx, cmd, logger)
	if err != nil {
		return err
	}
	server := cmd.String("server")
	if server == "" {
		logger.InfoContext(ctx, "starting PostgreSQL")
		own, err := cluster.New(ctx, cluster.Config{})
		if err != nil {
			return unlessInterrupted(ctx, fmt.Errorf("start a PostgreSQL: %w; install its server (Debian: apt-get install postgresql), or name one with --server", err))
		}
		defer own.Remove()
		server = own.URL("postgres")
	}
	return devOn(ctx, cmd, server, guard, logger)
}

// devOn serves the example from a server, and leaves nothing of it there.
func devOn(ctx context.Context, cmd *cli.Command, server string, guard middleware, logger *slog.Logger) (err error) {
	site, err := shop.Create(ctx, server)
	if err != nil {
		return unlessInterrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, site.Drop(context.WithoutCancel(ctx))) }()
	if err := site.Install(ctx); err != nil {
		return unlessInterrupted(ctx, err)
	}
	pool, err := site.Runtime(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	token, err := shop.Token([]byte(cmd.String("jwt-secret")), devCustomer, devTokenValid)
	if err != nil {
		return err
	}
	return serveFrom(ctx, cmd, pool, guard, traces{}, logger, func(addr net.Addr) {
		front := "http://" + addr.String()
		fmt.Fprintf(cmd.Root().Writer, devReady, front, devCustomer, shop.LookAround(site.URL, front, token))
	})
}

// unlessInterrupted is no error when what failed was ended by Ctrl-C.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
