// Command run holds a client against the conformance suite, the Go client if no other is named.
//
//	go run ./client/conformance/run [-only regexp] [command of an adapter, with its arguments]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/client/conformance"
	"github.com/pgtide/pgtide/client/conformance/goclient"
	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
)

func main() {
	only := flag.String("only", "", "cases whose name matches this `regexp`")
	adapter := flag.Bool("adapter", false, "be the adapter of the Go client, on stdin and stdout")
	flag.Parse()
	ctx := context.Background()
	err := func() error {
		if *adapter {
			return goclient.Serve(ctx, os.Stdin, os.Stdout)
		}
		return run(ctx, *only, flag.Args())
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, command []string) (err error) {
	matches, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		command = []string{self, "-adapter"}
	}
	cases, err := conformance.Cases()
	if err != nil {
		return err
	}
	cases = slices.DeleteFunc(cases, func(c conformance.Case) bool { return !matches.MatchString(c.Name) })
	postgres, err := pgtest.Start(ctx)
	if err != nil {
		return err
	}
	defer postgres.Stop()
	return conformance.RunAll(ctx, cases, command, os.Stdout, func(ctx context.Context) (*pgxpool.Pool, func(), error) {
		return database(ctx, postgres.URL)
	})
}

// database is a fresh one with pgtide and the tables of the suite.
func database(ctx context.Context, server string) (*pgxpool.Pool, func(), error) {
	const name = "pgtide_conformance"
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		return nil, nil, err
	}
	defer admin.Close(ctx) //nolint:errcheck // Nothing is left to do with it.
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "CREATE DATABASE " + name} {
		if _, err := admin.Exec(ctx, statement); err != nil {
			return nil, nil, err
		}
	}
	url := pgtest.WithDatabase(server, name)
	if _, err := install.Up(ctx, url); err != nil {
		return nil, nil, err
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	conn, err := pool.Acquire(ctx)
	if err == nil {
		_, err = conn.Conn().PgConn().Exec(ctx, conformance.Schema).ReadAll()
		conn.Release()
	}
	if err != nil {
		pool.Close()
		return nil, nil, errors.Join(errors.New("make the tables"), err)
	}
	return pool, pool.Close, nil
}
