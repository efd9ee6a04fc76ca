// Package shop is an example database: tables with rows in them, and how they are registered.
package shop

import (
	"context"
	_ "embed" // the SQL is the example
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/runtime/sealer"
)

// Schema creates the shop with its rows.
//
//go:embed schema.sql
var Schema string

// Register puts its tables under pgtide.
//
//go:embed register.sql
var Register string

// Shop is a database of its own with the example in it.
type Shop struct {
	// URL connects the superuser.
	URL string

	server, name string
}

// Create makes the database on a server, given by the URL of a superuser, and loads the shop, which
// knows nothing of pgtide yet.
func Create(ctx context.Context, server string) (*Shop, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("read the URL of the server: %w", err)
	}
	s := &Shop{server: server, name: fmt.Sprintf("shop_%d", time.Now().UnixNano())}
	u.Path = "/" + s.name
	s.URL = u.String()
	if err := execute(ctx, server, "CREATE DATABASE "+s.name); err != nil {
		return nil, fmt.Errorf("create a database: %w", err)
	}
	if err := execute(ctx, s.URL, Schema); err != nil {
		return nil, errors.Join(fmt.Errorf("load the shop: %w", err), s.Drop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// Install puts pgtide into the database, registers the tables, and seals what they hold.
func (s *Shop) Install(ctx context.Context) error {
	if _, err := install.Up(ctx, s.URL); err != nil {
		return fmt.Errorf("install pgtide: %w", err)
	}
	if err := execute(ctx, s.URL, Register); err != nil {
		return fmt.Errorf("register the tables: %w", err)
	}
	pool, err := pgxpool.New(ctx, s.URL)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer pool.Close()
	_, err = sealer.Seal(ctx, pool)
	return err
}

// Runtime connects with the rights that a server process has, and no others.
func (s *Shop) Runtime(ctx context.Context) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(s.URL)
	if err != nil {
		return nil, fmt.Errorf("read the URL of the shop: %w", err)
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET SESSION AUTHORIZATION tide_runtime`)
		return err
	}
	return pgxpool.NewWithConfig(ctx, config)
}

// Drop removes the database, and the roles of pgtide that no other database of the server uses.
func (s *Shop) Drop(ctx context.Context) error {
	// A psql that is left open must not hold it up.
	err := execute(ctx, s.server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+s.name+"'")
	err = errors.Join(err, install.Uninstall(ctx, s.URL))
	return errors.Join(err, execute(ctx, s.server, "DROP DATABASE "+s.name+" WITH (FORCE)"))
}

func execute(ctx context.Context, url, statements string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statements)
	return errors.Join(err, conn.Close(ctx))
}

// Token is what a login of the shop would give a customer: a JWT, signed with the secret of the server.
func Token(secret []byte, user string, valid time.Duration) (string, error) {
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(valid).Unix()}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return token, nil
}

// LookAround says what can be tried with the shop while a server runs on it: commands for a shell.
func LookAround(url, front, token string) string { return fmt.Sprintf(lookAround, url, front, token) }

//go:embed lookaround.txt
var lookAround string
