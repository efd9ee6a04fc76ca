// Package install applies pgtide's migrations to a database, and takes them out again.
package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/pgtide/pgtide/migrations"
)

// Migration is one migration and whether the database has it.
type Migration struct {
	Version   int64
	Name      string
	Applied   bool
	AppliedAt time.Time // as goose wrote it: the server's local time, without a zone
}

// Up applies what is missing and returns what it applied. Of two installers at once the second
// waits, and finds nothing left to do.
func Up(ctx context.Context, databaseURL string) ([]Migration, error) {
	config, err := parse(databaseURL)
	if err != nil {
		return nil, err
	}
	var applied []Migration
	err = locked(ctx, config, func(_ pgx.Tx, b bookkeeping) error {
		return withGoose(config, b, func(provider *goose.Provider) error {
			if err := refuseNewer(ctx, provider); err != nil {
				return err
			}
			results, err := provider.Up(ctx)
			var partial *goose.PartialError
			if errors.As(err, &partial) {
				results = partial.Applied
			}
			for _, r := range results {
				applied = append(applied, Migration{Version: r.Source.Version, Name: r.Source.Path, Applied: true})
			}
			return explain(err)
		})
	})
	return applied, err
}

// Status returns every migration this program knows. It writes nothing.
func Status(ctx context.Context, databaseURL string) ([]Migration, error) {
	config, err := parse(databaseURL)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	b, err := locate(ctx, conn)
	if err != nil {
		return nil, err
	}
	var all []Migration
	err = withGoose(config, b, func(provider *goose.Provider) error {
		for _, source := range provider.ListSources() {
			all = append(all, Migration{Version: source.Version, Name: source.Path})
		}
		if !b.found {
			return nil // goose would make the table
		}
		statuses, err := provider.Status(ctx)
		for i, s := range statuses {
			all[i].Applied, all[i].AppliedAt = s.State == goose.StateApplied, s.AppliedAt
		}
		return explain(err)
	})
	return all, err
}

// NewerError is returned by Up when the database knows migrations that this program does not.
type NewerError struct{ Database, Program int64 }

func (e *NewerError) Error() string {
	return fmt.Sprintf("the database has migration %d, and pgtide %s ends at %d: use the newer pgtide it was installed with",
		e.Database, migrations.Version(), e.Program)
}

func refuseNewer(ctx context.Context, provider *goose.Provider) error {
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return explain(err)
	}
	if current > target {
		return &NewerError{Database: current, Program: target}
	}
	return nil
}

// withGoose gives f goose on connections of its own. goose works on database/sql.
func withGoose(config *pgx.ConnConfig, b bookkeeping, f func(*goose.Provider) error) error {
	handle := stdlib.OpenDB(*config)
	defer handle.Close()
	provider, err := newProvider(handle, b)
	if err != nil {
		return err
	}
	return f(provider)
}

// parse reads the URL. Statements are not prepared by name, so that installing also works through a
// pooler in transaction mode.
func parse(databaseURL string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	if config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return config, nil
}
