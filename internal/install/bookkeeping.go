package install

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/migrations"
)

//go:embed locate.sql
var locateSQL string

// bookkeeping is where goose keeps what was applied.
type bookkeeping struct {
	table     string // qualified and quoted
	found     bool
	hasSchema bool // there is a schema tide
}

// locate finds the table wherever the search_path of the one who made it had put it.
func locate(ctx context.Context, conn db.DBTX) (bookkeeping, error) {
	var b bookkeeping
	var problem, hint string
	if err := conn.QueryRow(ctx, locateSQL).Scan(&b.table, &b.found, &b.hasSchema, &problem, &hint); err != nil {
		return b, fmt.Errorf("look for the applied migrations: %w", err)
	}
	if problem != "" {
		return b, &BookkeepingError{Problem: problem, Hint: hint}
	}
	return b, nil
}

// BookkeepingError says why the table of applied migrations cannot be used or made.
type BookkeepingError struct {
	Problem string
	Hint    string
}

func (e *BookkeepingError) Error() string { return e.Problem }

// Who finds the lock taken asks again after this time.
const lockInterval = 200 * time.Millisecond

var errLockTaken = errors.New("another installer is at work")

// locked runs f while no other installer works in the database. The lock is one of a transaction
// that stays open meanwhile: a lock of the session would be lost behind a pooler. Who waits keeps no
// transaction open, or those who wait could hold every connection of a pool that the one at work
// needs. It is the same lock that goose's own session locker takes.
func locked(ctx context.Context, config *pgx.ConnConfig, f func(pgx.Tx, bookkeeping) error) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	for {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			free, err := db.New(tx).TryLockInstall(ctx, lock.DefaultLockID)
			if err != nil {
				return fmt.Errorf("take the lock of installers: %w", err)
			}
			if !free {
				return errLockTaken
			}
			b, err := locate(ctx, tx)
			if err != nil {
				return err
			}
			return f(tx, b)
		})
		if !errors.Is(err, errLockTaken) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another installer: %w", ctx.Err())
		case <-time.After(lockInterval):
		}
	}
}

// store is goose's own, with a TableExists that also knows quoted names.
type store struct {
	database.Store
	found bool
}

func (s store) TableExists(context.Context, database.DBTxConn) (bool, error) { return s.found, nil }

func newProvider(handle *sql.DB, b bookkeeping) (*goose.Provider, error) {
	inner, err := database.NewStore(database.DialectPostgres, b.table)
	if err != nil {
		return nil, fmt.Errorf("prepare bookkeeping: %w", err)
	}
	provider, err := goose.NewProvider("", handle, migrations.FS,
		goose.WithStore(store{Store: inner, found: b.found}), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return provider, nil
}

// explain names the migration that failed, and the privileges it takes where one was missing.
func explain(err error) error {
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		err = fmt.Errorf("apply %s: %w", partial.Failed.Source.Path, partial.Err)
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42501" && pgErr.Hint == "" {
		pgErr.Hint = "The installing role needs CREATE on the database, and CREATEROLE unless a DBA made the roles; see docs/install.md."
	}
	return err
}
