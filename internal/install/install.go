// Package install applies pgtide's migrations to a database, and takes them out again.
package install

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // goose works on database/sql
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/pgtide/pgtide/migrations"
)

// Migration is one migration and whether the database has it.
type Migration struct {
	Version   int64
	Name      string
	Applied   bool
	AppliedAt time.Time // zero when not applied
}

// Up applies what is missing and returns what it applied. Two installers at once wait for each other.
func Up(ctx context.Context, databaseURL string) ([]Migration, error) {
	var applied []Migration
	err := withProvider(ctx, databaseURL, func(p *goose.Provider, _ *sql.DB) error {
		results, err := p.Up(ctx)
		var partial *goose.PartialError
		if errors.As(err, &partial) {
			return fmt.Errorf("apply %s: %w", partial.Failed.Source.Path, partial.Err)
		}
		for _, r := range results {
			applied = append(applied, Migration{Version: r.Source.Version, Name: r.Source.Path, Applied: true, AppliedAt: time.Now()})
		}
		return err
	})
	return applied, err
}

// Status returns every migration this program knows.
func Status(ctx context.Context, databaseURL string) ([]Migration, error) {
	var all []Migration
	err := withProvider(ctx, databaseURL, func(p *goose.Provider, _ *sql.DB) error {
		statuses, err := p.Status(ctx)
		for _, s := range statuses {
			all = append(all, Migration{Version: s.Source.Version, Name: s.Source.Path, Applied: s.State == goose.StateApplied, AppliedAt: s.AppliedAt})
		}
		return err
	})
	return all, err
}

// Uninstall removes pgtide, everything registering tables left on them, and goose's bookkeeping.
func Uninstall(ctx context.Context, databaseURL string) error {
	return withProvider(ctx, databaseURL, func(p *goose.Provider, db *sql.DB) error {
		if _, err := p.DownTo(ctx, 0); err != nil {
			var partial *goose.PartialError
			if errors.As(err, &partial) {
				return fmt.Errorf("undo %s: %w", partial.Failed.Source.Path, partial.Err)
			}
			return err
		}
		// goose made this table outside of any migration, so no migration can drop it.
		_, err := db.ExecContext(ctx, "DROP TABLE "+migrations.VersionTable)
		return err
	})
}

func withProvider(ctx context.Context, databaseURL string, use func(*goose.Provider, *sql.DB) error) error {
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer db.Close()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("prepare lock: %w", err)
	}
	store, err := database.NewStore(database.DialectPostgres, migrations.VersionTable)
	if err != nil {
		return fmt.Errorf("prepare bookkeeping: %w", err)
	}
	provider, err := goose.NewProvider("", db, migrations.FS,
		goose.WithStore(store), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	err = use(provider, db)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42501" && pgErr.Hint == "" {
		return fmt.Errorf("%w (the installing role needs CREATE on the database, CREATE on the first schema of its search_path for the table %s, and CREATEROLE unless the roles exist)", err, migrations.VersionTable)
	}
	return err
}
