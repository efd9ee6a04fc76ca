// Command demo shows pgtide at work on an existing database: two devices exchange with it over HTTP
// while writers of several kinds change the same rows; at the end all must hold what the database holds.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/term"

	"github.com/pgtide/pgtide/client"
	"github.com/pgtide/pgtide/examples/shop"
	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

const (
	// customer is whose devices they are.
	customer = 7
	stormy   = 4 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGHUP, syscall.SIGTERM)
	err := run(ctx)
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	postgres, err := pgtest.Start(ctx)
	if err != nil {
		return err
	}
	defer postgres.Stop()
	description, _, _ := strings.Cut(postgres.Description, " (") // without the reasons why it is no other
	site, err := shop.Create(ctx, postgres.URL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Drop(context.WithoutCancel(ctx))) }()
	database, err := pgxpool.New(ctx, site.URL)
	if err != nil {
		return err
	}
	defer database.Close()
	say("The database", "%s.\nIn it a shop that has run for years: %s.", description, count(ctx, database))
	if err := site.Install(ctx); err != nil {
		return err
	}
	say("pgtide", "is installed (pgtide migrate up), and takes the tables (examples/shop/register.sql):\n\n%s", shop.Register)

	front, err := serve(ctx, site)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, front.stop()) }()
	return show(ctx, site, database, front)
}

// show is the demonstration itself, once everything runs.
func show(ctx context.Context, site *shop.Shop, database *pgxpool.Pool, front *front) (err error) {
	token, err := shop.Token(front.secret, fmt.Sprint(customer), 24*time.Hour)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "pgtide-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // It lies where what is temporary lies.
	phone, err := newDevice(ctx, folder, "phone", front.url, token, client.LocalWins)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, phone.Close()) }()
	tablet, err := newDevice(ctx, folder, "tablet", front.url, token, client.ServerWins)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tablet.Close()) }()
	global := &reader{}
	if err := errors.Join(phone.sync(ctx), tablet.sync(ctx), global.begin(ctx, database)); err != nil {
		return err
	}
	held, err := phone.held(ctx)
	if err != nil {
		return err
	}
	say("Two devices", "of customer %d, a phone and a tablet, open a SQLite file each (client.Open) and sync with\n%s (pgtide serve). Each makes its tables as the server says, and fetches %d rows.", customer, front.url, held)
	if err := scenes(ctx, database, phone, tablet); err != nil {
		return err
	}
	before, err := counted(ctx, database, phone, tablet)
	if err != nil {
		return err
	}
	say("All at once", `For %s both devices edit, push and pull, and every twentieth answer gets lost. Others write
by SQL: single rows, bulk updates that give rows to other customers, COPY, rollbacks, and one
transaction that stays open all the time. A reader follows the catalogue with tide.pull.`, stormy)
	if err := storm(ctx, database, global, phone, tablet); err != nil {
		return err
	}
	if err := settle(ctx, database, global, phone, tablet); err != nil {
		return err
	}
	after, err := counted(ctx, database, phone, tablet)
	if err != nil {
		return err
	}
	say("", `%d transactions, %d of them pushes. %d edits met a conflict, %d were refused and taken back,
%d answers got lost. Now nobody writes any more, and what everybody holds is compared value by value:`,
		after.bundles-before.bundles, after.pushes-before.pushes, after.conflicts-before.conflicts, phone.refused+tablet.refused, phone.lost+tablet.lost)
	if err := compare(ctx, database, global, phone, tablet); err != nil {
		return err
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Printf("\nIt runs until you press Ctrl-C. The devices are %s/phone.db and tablet.db. Look around:\n\n%s", folder, shop.LookAround(site.URL, front.url, token))
		<-ctx.Done()
		fmt.Println("\nRemoving the database.")
	}
	return nil
}

// counts are what the demonstration says of the storm.
type counts struct{ bundles, pushes, conflicts int }

func counted(ctx context.Context, database *pgxpool.Pool, devices ...*device) (c counts, err error) {
	err = database.QueryRow(ctx, `SELECT (SELECT count(DISTINCT bundle_id) FROM tide.bundles), (SELECT count(*) FROM tide.push_log)`).Scan(&c.bundles, &c.pushes)
	for _, d := range devices {
		n, failed := d.conflicts(ctx)
		c.conflicts, err = c.conflicts+n, errors.Join(err, failed)
	}
	return c, err
}

// front is the HTTP server of pgtide, as pgtide serve runs it.
type front struct {
	url    string
	secret []byte
	stop   func() error
}

func serve(ctx context.Context, site *shop.Shop) (*front, error) {
	pool, err := site.Runtime(ctx)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		pool.Close()
		return nil, err
	}
	f := &front{url: "http://" + listener.Addr().String(), secret: []byte(rand.Text() + rand.Text())}
	handler := server.New(pool, server.Config{AppName: "shop"})
	web := &http.Server{Handler: auth.Bearer(f.secret)(handler), ReadHeaderTimeout: 10 * time.Second}
	sealing, stopSealing := context.WithCancel(context.WithoutCancel(ctx))
	sealed, served := make(chan error, 1), make(chan error, 1)
	go func() { sealed <- handler.Run(sealing) }()
	go func() { served <- web.Serve(listener) }()
	f.stop = func() error {
		err := web.Close() // nobody waits for an answer any more
		if s := <-served; !errors.Is(s, http.ErrServerClosed) {
			err = errors.Join(err, s)
		}
		stopSealing()
		err = errors.Join(err, <-sealed)
		pool.Close()
		return err
	}
	return f, nil
}

func count(ctx context.Context, database *pgxpool.Pool) string {
	var text string
	if err := database.QueryRow(ctx, `SELECT format('%s customers, %s products, %s purchases with %s items',
		(SELECT count(*) FROM shop.customer), (SELECT count(*) FROM shop.product), (SELECT count(*) FROM shop.purchase), (SELECT count(*) FROM shop.purchase_item))`).Scan(&text); err != nil {
		return err.Error()
	}
	return text
}

// say prints a paragraph beside its label.
func say(label, format string, args ...any) {
	fmt.Println()
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Println(strings.TrimRight(fmt.Sprintf("%-15s%s", label, line), " \n"))
		label = ""
	}
}
