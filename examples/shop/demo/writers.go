package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The kinds of writer an existing database has. None of them knows of pgtide.
var writerKinds = []func(context.Context, *pgxpool.Pool) error{
	singleStatements, purchases, staff, bulk, copying, rollbacks, longTransaction,
}

func repeat(ctx context.Context, f func(context.Context) error) error {
	for ctx.Err() == nil {
		// What was begun is finished, also when time is up.
		if err := f(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func singleStatements(ctx context.Context, pool *pgxpool.Pool) error {
	return repeat(ctx, func(ctx context.Context) error {
		_, err := pool.Exec(ctx, `UPDATE shop.product SET price = price + 0.01 WHERE product_id = $1`, 1+rand.IntN(200))
		return err
	})
}

func purchases(ctx context.Context, pool *pgxpool.Pool) error {
	return repeat(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			customer := 6 + rand.IntN(3)
			if _, err := tx.Exec(ctx, `
				WITH p AS (INSERT INTO shop.purchase (customer_id, note) VALUES ($1, 'from the till') RETURNING purchase_id)
				INSERT INTO shop.purchase_item SELECT p.purchase_id, g, $1, 1 FROM p, generate_series($2::int, $2::int + 2) AS g`, customer, 1+rand.IntN(190)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `DELETE FROM shop.purchase WHERE purchase_id IN
				(SELECT purchase_id FROM shop.purchase WHERE customer_id = $1 AND note = 'from the till' ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, customer, rand.IntN(2))
			return err
		})
	})
}

// staff does with psql what the devices' customer sees, and what he edits at the same time.
func staff(ctx context.Context, pool *pgxpool.Pool) error {
	return repeat(ctx, func(ctx context.Context) error {
		_, err := pool.Exec(ctx, `
			UPDATE shop.purchase SET status = (ARRAY['open', 'packed', 'shipped'])[1 + (random() * 2)::int], note = 'staff: ' || (random() * 1000)::int WHERE purchase_id =
				(SELECT purchase_id FROM shop.purchase WHERE customer_id = $1 ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)`, customer)
		if err == nil {
			_, err = pool.Exec(ctx, `SELECT pg_sleep(0.02)`)
		}
		return err
	})
}

// bulk gives purchases to another customer: the rows leave one device and come to another.
func bulk(ctx context.Context, pool *pgxpool.Pool) error {
	return repeat(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `
				WITH moved AS (UPDATE shop.purchase SET customer_id = 7 + customer_id % 4 WHERE purchase_id IN
					(SELECT purchase_id FROM shop.purchase WHERE customer_id BETWEEN 6 AND 10 ORDER BY random() LIMIT 5 FOR UPDATE SKIP LOCKED) RETURNING purchase_id, customer_id)
				UPDATE shop.purchase_item AS i SET customer_id = m.customer_id FROM moved AS m WHERE i.purchase_id = m.purchase_id`); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `SELECT pg_sleep(0.02)`)
			return err
		})
	})
}

func copying(ctx context.Context, pool *pgxpool.Pool) error {
	next := 1000
	return repeat(ctx, func(ctx context.Context) error {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		var lines strings.Builder
		for range 50 {
			next++
			fmt.Fprintf(&lines, "%d\tCopied %d\t%d.50\t\\N\n", next, next, next%90)
		}
		if _, err := conn.Conn().PgConn().CopyFrom(ctx, strings.NewReader(lines.String()), `COPY shop.product FROM STDIN`); err != nil {
			return err
		}
		_, err = conn.Exec(ctx, `DELETE FROM shop.product WHERE product_id BETWEEN $1 AND $2`, next-140, next-60)
		if err == nil {
			_, err = conn.Exec(ctx, `SELECT pg_sleep(0.1)`)
		}
		return err
	})
}

func rollbacks(ctx context.Context, pool *pgxpool.Pool) error {
	return repeat(ctx, func(ctx context.Context) error {
		tx, err := pool.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(ctx) }() // committed, or meant
		for _, statement := range []string{
			`INSERT INTO shop.product VALUES (-1, 'never', 1)`, `SAVEPOINT s`, `UPDATE shop.customer SET name = 'Nobody' WHERE customer_id = 7`, `ROLLBACK TO s`,
			`UPDATE shop.customer SET name = 'Customer ' || (random() * 1000)::int WHERE customer_id = 7`, `DELETE FROM shop.product WHERE product_id = -1`, `SELECT pg_sleep(0.01)`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		if rand.IntN(2) == 0 {
			return nil
		}
		return tx.Commit(ctx)
	})
}

// longTransaction changes a product and commits only when everybody else is done.
func longTransaction(ctx context.Context, pool *pgxpool.Pool) error {
	return pgx.BeginFunc(context.WithoutCancel(ctx), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(context.WithoutCancel(ctx), `INSERT INTO shop.product VALUES (900, 'Written first, committed last', 9.99)`); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
}
