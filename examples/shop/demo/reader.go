package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// reader holds the rows of one bucket and a position in its log. That is all a device needs.
type reader struct {
	bucket   string
	position int64
	bundles  int
	rows     map[string]string
}

func (r *reader) begin(ctx context.Context, pool *pgxpool.Pool) error {
	if err := pool.QueryRow(ctx, `SELECT head_seq FROM tide.bucket_position($1)`, r.bucket).Scan(&r.position); err != nil {
		return fmt.Errorf("find the position of %s: %w", r.bucket, err)
	}
	var err error
	r.rows, err = rowsOf(ctx, pool, r.bucket)
	return err
}

func (r *reader) follow(ctx context.Context, pool *pgxpool.Pool) error {
	for ctx.Err() == nil {
		if err := r.pull(context.WithoutCancel(ctx), pool); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// pull applies whole bundles until there are no more.
func (r *reader) pull(ctx context.Context, pool *pgxpool.Pool) error {
	for {
		result, err := pool.Query(ctx, `SELECT bundle_seq, table_name || key::text, op, payload::text FROM tide.pull($1::text, $2)`, r.bucket, r.position)
		if err != nil {
			return fmt.Errorf("pull %s: %w", r.bucket, err)
		}
		before := r.position
		var seq int64
		var key, op string
		var payload *string
		if _, err := pgx.ForEachRow(result, []any{&seq, &key, &op, &payload}, func() error {
			if seq != r.position {
				r.position = seq
				r.bundles++
			}
			if op == "DELETE" {
				delete(r.rows, key)
			} else {
				r.rows[key] = *payload
			}
			return nil
		}); err != nil {
			return fmt.Errorf("pull %s: %w", r.bucket, err)
		}
		if r.position == before {
			return nil
		}
	}
}

// What the tables hold for each bucket, in plain SQL that knows nothing of the log.
var tableQueries = map[string]string{
	"global": `SELECT 'product{"product_id":"' || product_id || '"}',
			row_to_json(p)::text FROM (SELECT product_id, name, price, encode(photo, 'base64') AS photo FROM shop.product) AS p`,
	"user:7": `SELECT 'customer{"customer_id":"7"}', row_to_json(c)::text FROM shop.customer AS c WHERE customer_id = 7
		UNION ALL SELECT 'purchase{"purchase_id":"' || purchase_id || '"}', row_to_json(p)::text FROM shop.purchase AS p WHERE customer_id = 7
		UNION ALL SELECT 'purchase_item{"purchase_id":"' || purchase_id || '","product_id":"' || product_id || '"}', row_to_json(i)::text FROM shop.purchase_item AS i WHERE customer_id = 7`,
}

func rowsOf(ctx context.Context, pool *pgxpool.Pool, bucket string) (map[string]string, error) {
	held := map[string]string{}
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// The log is in UTC, whatever the session.
		if _, err := tx.Exec(ctx, `SET LOCAL TimeZone = 'UTC'`); err != nil {
			return err
		}
		result, err := tx.Query(ctx, tableQueries[bucket])
		if err != nil {
			return err
		}
		var key, payload string
		_, err = pgx.ForEachRow(result, []any{&key, &payload}, func() error { held[key] = payload; return nil })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the rows of %s: %w", bucket, err)
	}
	return held, nil
}
