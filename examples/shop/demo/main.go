// Command demo shows pgtide at work on an existing database: writers of several kinds change rows
// while two readers follow a bucket each; at the end both must hold what the database holds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/term"

	"github.com/pgtide/pgtide/examples/shop"
	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/sealer"
)

const writing = 4 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	server, err := pgtest.Start(ctx)
	if err != nil {
		return err
	}
	defer server.Stop()
	say("PostgreSQL is %s.", server.Description)
	url, err := createDatabase(ctx, server.URL)
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()

	if _, err := pool.Exec(ctx, shop.Schema); err != nil {
		return fmt.Errorf("load the shop: %w", err)
	}
	say("A shop that knows nothing of pgtide: %s.", count(ctx, pool))
	if _, err := install.Up(ctx, url); err != nil {
		return fmt.Errorf("install pgtide: %w", err)
	}
	if _, err := pool.Exec(ctx, shop.Register); err != nil {
		return fmt.Errorf("register its tables: %w", err)
	}
	say("Installed pgtide (pgtide migrate up), registered four tables (examples/shop/register.sql):\n\n%s", shop.Register)

	// Rows that were there before are what a device gets as a snapshot; from there it reads bundles.
	if _, err := sealer.Seal(ctx, pool); err != nil {
		return err
	}
	readers := []*reader{{bucket: "global"}, {bucket: "user:7"}}
	for _, r := range readers {
		if err := r.begin(ctx, pool); err != nil {
			return err
		}
		say("A reader of %s begins at position %d with %d rows.", r.bucket, r.position, len(r.rows))
	}

	say("\nFor %s: psql-style single statements, bulk updates, COPY, rollbacks, savepoints,\nand one transaction that stays open all the time ...", writing)
	if err := work(ctx, pool, readers); err != nil {
		return err
	}
	if err := compare(ctx, pool, readers); err != nil {
		return err
	}
	fmt.Printf(`
Look around:
  psql '%s'
    SELECT * FROM tide.status;
    SELECT * FROM tide.buckets ORDER BY head_seq DESC LIMIT 5;
    SELECT * FROM tide.bundles ORDER BY bundle_id DESC LIMIT 10;
    SELECT bundle_seq, table_name, key, op, payload FROM tide.changes WHERE bucket_id = 'user:7' ORDER BY bundle_seq DESC LIMIT 10;
    SELECT * FROM tide.pull('user:7', after_bundle_seq => 1, max_bundles => 2);
    SELECT * FROM tide.row_history('shop.product', '{"product_id": 1}');
    SELECT * FROM tide.check();
`, url)
	if term.IsTerminal(int(os.Stdin.Fd())) {
		say("\nThe server runs until you press Ctrl-C.")
		<-ctx.Done()
	}
	return nil
}

func createDatabase(ctx context.Context, server string) (string, error) {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	name := fmt.Sprintf("shop_%d", time.Now().Unix())
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	return pgtest.WithDatabase(server, name), nil
}

// work runs the writers, a sealer and the readers side by side, until the readers have all there is.
func work(ctx context.Context, pool *pgxpool.Pool, readers []*reader) error {
	writingTime, done := context.WithTimeout(ctx, writing)
	defer done()
	sealing, stopSealing := context.WithCancel(ctx)
	defer stopSealing()
	var group, writers sync.WaitGroup
	failures := make(chan error, 16)
	start := func(g *sync.WaitGroup, f func() error) {
		g.Go(func() {
			if err := f(); err != nil && !errors.Is(err, context.Canceled) {
				failures <- err
			}
		})
	}
	start(&group, func() error {
		return sealer.Run(sealing, pool, sealer.Config{Interval: 50 * time.Millisecond})
	})
	for _, w := range writerKinds {
		start(&writers, func() error { return w(writingTime, pool) })
	}
	for _, r := range readers {
		start(&writers, func() error { return r.follow(writingTime, pool) })
	}
	writers.Wait()
	stopSealing()
	group.Wait()
	select {
	case err := <-failures:
		return err
	default:
	}
	if _, err := sealer.Seal(ctx, pool); err != nil {
		return err
	}
	for _, r := range readers {
		if err := r.pull(ctx, pool); err != nil {
			return err
		}
	}
	return nil
}

func compare(ctx context.Context, pool *pgxpool.Pool, readers []*reader) error {
	var bundles, changes int64
	if err := pool.QueryRow(ctx, `SELECT count(DISTINCT bundle_id), sum(change_count) FROM tide.bundles`).Scan(&bundles, &changes); err != nil {
		return err
	}
	say("%d transactions were sealed, with %d changes over all buckets. The shop now: %s.\n", bundles, changes, count(ctx, pool))
	fmt.Printf("%-8s  %8s  %8s  %12s  %14s  %s\n", "bucket", "position", "bundles", "rows: reader", "rows: database", "the same, value by value")
	equal := true
	for _, r := range readers {
		held, err := rowsOf(ctx, pool, r.bucket)
		if err != nil {
			return err
		}
		same := len(held) == len(r.rows)
		for key, payload := range held {
			same = same && r.rows[key] == payload
		}
		equal = equal && same
		fmt.Printf("%-8s  %8d  %8d  %12d  %14d  %t\n", r.bucket, r.position, r.bundles, len(r.rows), len(held), same)
	}
	if !equal {
		return errors.New("a reader does not hold what the database holds")
	}
	return nil
}

func count(ctx context.Context, pool *pgxpool.Pool) string {
	var text string
	if err := pool.QueryRow(ctx, `SELECT format('%s customers, %s products, %s purchases with %s items',
		(SELECT count(*) FROM shop.customer), (SELECT count(*) FROM shop.product), (SELECT count(*) FROM shop.purchase), (SELECT count(*) FROM shop.purchase_item))`).Scan(&text); err != nil {
		return err.Error()
	}
	return text
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }
