package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/runtime/server"
	"github.com/pgtide/pgtide/runtime/watch"
)

const (
	// maxHeaderBytes is much for a token, and little for a server.
	maxHeaderBytes = 64 << 10
	// requestsPerUser is much for devices, and little for somebody who tries to be a nuisance.
	requestsPerUser = 50
	// headerTimeout is how long a client may take to say what it wants.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection is kept that nobody uses.
	idleTimeout = 2 * time.Minute
	// shutdownTimeout is how long requests have to finish.
	shutdownTimeout = 30 * time.Second
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:        "serve",
		Usage:       "serve devices over HTTP, and keep the log sealed",
		Description: "Every setting can be given in the environment as well: --app-name as PGTIDE_APP_NAME.",
		Flags:       serveSettings(),
		Action:      serve,
	}
}

func serve(ctx context.Context, cmd *cli.Command) error {
	logger := slog.New(slog.NewJSONHandler(cmd.Root().ErrWriter, nil))
	guard, err := guards(ctx, cmd, logger)
	if err != nil {
		return err
	}
	traces, err := tracing(ctx)
	if err != nil {
		return err
	}
	defer traces.end(ctx, logger)
	pool, err := connect(ctx, cmd, traces.statements)
	if err != nil {
		return err
	}
	defer pool.Close()
	return serveFrom(ctx, cmd, pool, guard, traces, logger, func(net.Addr) {})
}

// guards are the settings of what stands before the server. All are read before anything is begun.
func guards(ctx context.Context, cmd *cli.Command, logger *slog.Logger) (middleware, error) {
	if err := refuseSettings(os.Environ(), cmd); err != nil {
		return nil, err
	}
	believe, err := identity(ctx, cmd, logger)
	if err != nil {
		return nil, err
	}
	allow, err := crossOrigin(listed(cmd.String("cors-origins")))
	if err != nil {
		return nil, err
	}
	if _, err := watchSettings(cmd); err != nil {
		return nil, err
	}
	return func(next http.Handler) http.Handler { return allow(believe(next)) }, nil
}

// serveFrom serves what a pool connects to until ctx ends. ready is told where devices find it.
func serveFrom(ctx context.Context, cmd *cli.Command, pool *pgxpool.Pool, guard middleware, traces traces, logger *slog.Logger, ready func(net.Addr)) error {
	watching, err := watchSettings(cmd)
	if err != nil {
		return err
	}
	front := server.New(pool, serverConfig(cmd, watching, logger))
	devices, err := listen(ctx, cmd, cmd.String("addr"), guard(front), logger)
	if err != nil {
		return err
	}
	sites := []site{devices}
	if addr := cmd.String("operator-addr"); addr != "" {
		operators, err := listen(ctx, cmd, addr, front.Operator(), logger)
		if err != nil {
			_ = devices.Close() // nobody has come yet
			return err
		}
		sites = append(sites, operators)
		logger.InfoContext(ctx, "serving operators", slog.String("addr", operators.Addr().String()))
	}
	if err := assertPrivateAddress(ctx, cmd, devices.Addr(), logger); err != nil {
		for _, s := range sites {
			_ = s.Close() // as above
		}
		return err
	}
	ready(devices.Addr())
	logger.InfoContext(ctx, "serving", slog.String("addr", devices.Addr().String()))
	return untilEnd(ctx, cmd.Duration("shutdown-timeout"), logger, front, sites)
}

// serverConfig is what the settings say of the server itself.
func serverConfig(cmd *cli.Command, watching watch.Config, logger *slog.Logger) server.Config {
	return server.Config{
		AppName:            cmd.String("app-name"),
		OperatorToken:      cmd.String("operator-token"),
		MaxBodyBytes:       cmd.Int64("max-body-bytes"),
		MaxPullBytes:       cmd.Int64("max-pull-bytes"),
		BufferBytes:        int(cmd.Int64("buffer-bytes")),
		MaxStreams:         int(cmd.Int64("max-streams")),
		MaxStreamsPerUser:  int(cmd.Int64("max-streams-per-user")),
		MaxRequestsPerUser: int(cmd.Int64("max-requests-per-user")),
		RequestsPerUser:    int(cmd.Int64("requests-per-user")),
		QueueTimeout:       cmd.Duration("queue-timeout"),
		RequestTimeout:     cmd.Duration("request-timeout"),
		LockTimeout:        cmd.Duration("lock-timeout"),
		StreamTimeout:      cmd.Duration("stream-timeout"),
		WriteTimeout:       cmd.Duration("write-timeout"),
		Logger:             logger,
		NoWatch:            !cmd.Bool("watch"),
		Watch:              watching,
		MaxWatchesPerUser:  int(cmd.Int64("max-watches-per-user")),
		HeartbeatInterval:  cmd.Duration("heartbeat-interval"),
	}
}

// site is an address with what is served there.
type site struct {
	net.Listener
	web *http.Server
}

func listen(ctx context.Context, cmd *cli.Command, addr string, handler http.Handler, logger *slog.Logger) (site, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return site{}, fmt.Errorf("listen: %w", err)
	}
	web := webServer(cmd)
	web.Handler, web.ErrorLog = handler, slog.NewLogLogger(logger.Handler(), slog.LevelWarn)
	return site{listener, web}, nil
}

// webServer bounds what stands before any handler.
func webServer(cmd *cli.Command) *http.Server {
	return &http.Server{
		MaxHeaderBytes:    int(cmd.Int64("max-header-bytes")),
		ReadHeaderTimeout: cmd.Duration("header-timeout"),
		IdleTimeout:       cmd.Duration("idle-timeout"),
	}
}

// untilEnd serves and seals until ctx ends or one of them cannot go on. Sealing goes on until the
// last request is answered: pushes wait for it.
func untilEnd(ctx context.Context, patience time.Duration, logger *slog.Logger, front *server.Server, sites []site) error {
	sealing, stopSealing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSealing()
	sealed, served := make(chan error, 1), make(chan error, len(sites))
	go func() { sealed <- front.Run(sealing) }()
	for _, s := range sites {
		go func() { served <- s.web.Serve(s.Listener) }()
	}
	var failure error
	select {
	case <-ctx.Done():
		logger.InfoContext(ctx, "shutting down")
	case failure = <-sealed:
		sealed <- nil
	case failure = <-served:
	}
	front.Drain()
	finishing, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for _, s := range sites {
		if err := s.web.Shutdown(finishing); err != nil {
			logger.WarnContext(ctx, "requests were cut off", slog.Any("error", err))
			failure = errors.Join(failure, s.web.Close())
		}
	}
	stopSealing()
	return errors.Join(failure, <-sealed)
}
