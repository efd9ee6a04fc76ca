package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// reader follows the catalogue by SQL: its rows, and a position in the log of bucket global. A search
// index or a cache would be kept so.
type reader struct {
	position int64
	rows     map[string]string
}

func (r *reader) begin(ctx context.Context, database *pgxpool.Pool) error {
	if err := database.QueryRow(ctx, `SELECT head_seq FROM tide.bucket_position('global')`).Scan(&r.position); err != nil {
		return fmt.Errorf("find the position of the catalogue: %w", err)
	}
	var err error
	r.rows, err = rowsOf(ctx, database, catalogue)
	return err
}

func (r *reader) follow(ctx context.Context, database *pgxpool.Pool) error {
	for ctx.Err() == nil {
		if err := r.pull(context.WithoutCancel(ctx), database); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// pull applies whole bundles until there are no more.
func (r *reader) pull(ctx context.Context, database *pgxpool.Pool) error {
	for {
		result, err := database.Query(ctx, `SELECT bundle_seq, key ->> 'product_id', op, payload::text FROM tide.pull('global', $1)`, r.position)
		if err != nil {
			return fmt.Errorf("pull the catalogue: %w", err)
		}
		before := r.position
		var key, op string
		var payload *string
		if _, err := pgx.ForEachRow(result, []any{&r.position, &key, &op, &payload}, func() error {
			if op == "DELETE" {
				delete(r.rows, key)
			} else {
				r.rows[key] = *payload
			}
			return nil
		}); err != nil {
			return fmt.Errorf("pull the catalogue: %w", err)
		}
		if r.position == before {
			return nil
		}
	}
}
