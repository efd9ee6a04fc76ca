package install

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/migrations"
)

// The first migration is the only one with a way back, which undoes all of them.
const firstMigration = "00001_schema.sql"

// Uninstall removes pgtide, what registering tables left on them, and the bookkeeping: in one
// transaction, so that a failure leaves everything as it was.
func Uninstall(ctx context.Context, databaseURL string) error {
	return UninstallSaying(ctx, databaseURL, func(string) {})
}

// UninstallSaying is Uninstall that says, once it is done, what was done and what was left.
func UninstallSaying(ctx context.Context, databaseURL string, say func(string)) error {
	config, err := parse(databaseURL)
	if err != nil {
		return err
	}
	var done, notices []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Routine != "reportDependentObjects" { // how many objects the schema had
			notices = append(notices, n.Message)
		}
	}
	if err := locked(ctx, config, func(tx pgx.Tx, b bookkeeping) error {
		done, err = uninstall(ctx, tx, b)
		return err
	}); err != nil {
		return err
	}
	for _, line := range append(done, notices...) {
		say(line)
	}
	return nil
}

func uninstall(ctx context.Context, tx pgx.Tx, b bookkeeping) ([]string, error) {
	if !b.found {
		return []string{"nothing to do: pgtide is not installed here"}, nil
	}
	var done []string
	if b.hasSchema {
		tables, err := db.New(tx).RegisteredTables(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the registered tables: %w", err)
		}
		text, err := migrations.FS.ReadFile(firstMigration)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", firstMigration, err)
		}
		_, down, err := sections(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", firstMigration, err)
		}
		if _, err := tx.Exec(ctx, down); err != nil {
			return nil, fmt.Errorf("undo %s: %w", firstMigration, err)
		}
		for _, table := range tables {
			done = append(done, "unregistered "+table)
		}
		done = append(done, "dropped schema tide")
	}
	// goose made this table outside of any migration, so no migration can drop it.
	if _, err := tx.Exec(ctx, "DROP TABLE "+b.table); err != nil {
		return nil, fmt.Errorf("drop the applied migrations: %w", err)
	}
	return append(done, "dropped table "+b.table), nil
}
