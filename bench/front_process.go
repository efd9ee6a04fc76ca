package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"syscall"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

// asFront makes this process a front when it was started as one, and says so.
func asFront() (status int, isFront bool) {
	url := os.Getenv(frontDatabase)
	if url == "" {
		return 0, false
	}
	// Ctrl-C at the terminal is for who started it, who then closes the input.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	profile := os.Getenv(frontProfile)
	err := profiled(profile, func() error { return serveFront(context.Background(), url, os.Stdin, os.Stdout) })
	if err == nil && profile != "" {
		err = writeAllocations(profile + ".allocs")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "front:", err)
		return 1, true
	}
	return 0, true
}

// serveFront serves as pgtide serve does, until orders end.
func serveFront(ctx context.Context, url string, orders io.Reader, answers io.Writer) error {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("read the URL: %w", err)
	}
	config.ConnConfig.RuntimeParams["application_name"] = "pgtide serve"
	config.ConnConfig.RuntimeParams["role"] = "tide_runtime"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer pool.Close()
	// The log costs what it costs, and nobody reads it.
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer null.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	bare, err := listenSockets()
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = bare.Close() }() // the process ends
	handler := server.New(pool, server.Config{MaxWatchesPerUser: 100_000, Logger: slog.New(slog.NewJSONHandler(null, nil))})
	web := &http.Server{Handler: auth.Bearer([]byte(os.Getenv(frontSecret)))(handler)}
	ctx, stop := context.WithCancel(ctx)
	failed := make(chan error, 2)
	go func() { failed <- handler.Run(ctx) }()
	go func() {
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
			return
		}
		failed <- nil
	}()
	fmt.Fprintln(answers, listener.Addr())
	err = obey(orders, answers, bare)
	stop()
	return errors.Join(err, web.Close(), <-failed, <-failed)
}

func obey(orders io.Reader, answers io.Writer, bare *sockets) error {
	lines := bufio.NewScanner(orders)
	for lines.Scan() {
		var answer int64
		switch lines.Text() {
		case orderCollect:
			debug.FreeOSMemory()
			answer = int64(allocated())
		case orderAllocated:
			answer = int64(allocated())
		case orderHeld:
			answer = held()
		case orderSockets:
			answer = bare.port()
		case orderSay:
			bare.say()
		case orderHangUp:
			bare.hangUp()
		}
		fmt.Fprintln(answers, answer)
	}
	return lines.Err()
}

func writeAllocations(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err // it names the file
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
}
