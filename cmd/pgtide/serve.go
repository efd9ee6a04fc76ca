package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

const (
	// headerTimeout is how long a client may take to say what it wants.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection is kept that nobody uses.
	idleTimeout = 2 * time.Minute
	// shutdownTimeout is how long requests have to finish.
	shutdownTimeout = 30 * time.Second
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "serve devices over HTTP, and keep the log sealed",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "addr", Usage: "`HOST:PORT` to listen on", Value: "127.0.0.1:8080", Sources: cli.EnvVars("PGTIDE_ADDR")},
			&cli.StringFlag{Name: "jwt-secret", Usage: "`SECRET` that signs the tokens of users with HS256, at least 32 bytes; better given as PGTIDE_JWT_SECRET", Sources: cli.EnvVars("PGTIDE_JWT_SECRET")},
			&cli.StringFlag{Name: "operator-token", Usage: "`TOKEN` that opens /syncx/status; nobody may look without one", Sources: cli.EnvVars("PGTIDE_OPERATOR_TOKEN")},
			&cli.StringFlag{Name: "app-name", Usage: "`NAME` told to devices", Sources: cli.EnvVars("PGTIDE_APP_NAME")},
		},
		Action: serve,
	}
}

func serve(ctx context.Context, cmd *cli.Command) error {
	secret := []byte(cmd.String("jwt-secret"))
	switch {
	case len(secret) == 0:
		return wrongUsage("no secret given: set PGTIDE_JWT_SECRET to what signs the tokens of your users")
	case len(secret) < auth.MinSecretBytes:
		return wrongUsage("the secret has %d bytes, and HS256 is no stronger than its secret: set PGTIDE_JWT_SECRET to at least %d", len(secret), auth.MinSecretBytes)
	}
	pool, err := connect(ctx, cmd)
	if err != nil {
		return err
	}
	defer pool.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cmd.String("addr"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	logger := slog.New(slog.NewJSONHandler(cmd.Root().ErrWriter, nil))
	front := server.New(pool, server.Config{AppName: cmd.String("app-name"), OperatorToken: cmd.String("operator-token"), Logger: logger})
	web := &http.Server{
		Handler:           auth.Bearer(secret)(front),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	logger.InfoContext(ctx, "serving", slog.String("addr", listener.Addr().String()))
	return untilEnd(ctx, logger, front, web, listener)
}

// untilEnd serves and seals until ctx ends or one of the two cannot go on. Sealing goes on until the
// last request is answered: pushes wait for it.
func untilEnd(ctx context.Context, logger *slog.Logger, front *server.Server, web *http.Server, listener net.Listener) error {
	sealing, stopSealing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSealing()
	sealed, served := make(chan error, 1), make(chan error, 1)
	go func() { sealed <- front.Run(sealing) }()
	go func() { served <- web.Serve(listener) }()
	var failure error
	select {
	case <-ctx.Done():
		logger.InfoContext(ctx, "shutting down")
	case failure = <-sealed:
		sealed <- nil
	case failure = <-served:
	}
	front.Drain()
	finishing, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := web.Shutdown(finishing); err != nil {
		logger.WarnContext(ctx, "requests were cut off", slog.Any("error", err))
		failure = errors.Join(failure, web.Close())
	}
	stopSealing()
	return errors.Join(failure, <-sealed)
}
