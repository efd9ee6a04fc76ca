package sim

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

//go:embed schema.sql
var schema string

// Databases gives every history a database of its own: copies of one template, made while the history
// before still runs.
type Databases struct {
	server, template string
	ready            chan database
	over             context.Context
	end              context.CancelFunc
	drops            chan string
	ended            chan struct{}
}

type database struct {
	name, url string
	err       error
}

var copies atomic.Int64

// NewDatabases prepares the template, a database with pgtide in it that nobody is connected to any more.
func NewDatabases(ctx context.Context, server, template string) (*Databases, error) {
	conn, err := pgx.Connect(ctx, pgtest.WithDatabase(server, template))
	if err != nil {
		return nil, fmt.Errorf("connect to the template: %w", err)
	}
	_, err = conn.Exec(ctx, schema)
	if closing := conn.Close(ctx); err == nil {
		err = closing
	}
	if err != nil {
		return nil, fmt.Errorf("prepare the template: %w", err)
	}
	d := &Databases{server: server, template: template, ready: make(chan database), drops: make(chan string, 1000), ended: make(chan struct{})}
	d.over, d.end = context.WithCancel(context.Background())
	go d.work()
	return d, nil
}

// work makes databases ahead and drops those that are done with.
func (d *Databases) work() {
	defer close(d.ended)
	admin, err := pgx.Connect(d.over, d.server)
	if err != nil {
		d.offer(database{err: err})
		return
	}
	defer func() { _ = admin.Close(context.Background()) }() // nothing is left to do with it
	for {
		next := d.create(admin, d.template)
		for handed := false; !handed; {
			select {
			case d.ready <- next:
				handed = true
			case name := <-d.drops:
				d.drop(admin, name)
			case <-d.over.Done():
				d.drop(admin, next.name)
				for len(d.drops) > 0 {
					d.drop(admin, <-d.drops)
				}
				return
			}
		}
	}
}

func (d *Databases) offer(one database) {
	select {
	case d.ready <- one:
	case <-d.over.Done():
	}
}

func (d *Databases) create(admin *pgx.Conn, of string) database {
	name := fmt.Sprintf("%s_sim_%d", d.template, copies.Add(1))
	for _, statement := range []string{
		// Copied as files: written to the WAL, block by block, it takes three times as long.
		"CREATE DATABASE " + name + " TEMPLATE " + of + " STRATEGY file_copy",
		// A history ends before the server does: nothing needs to reach the disk. A deadlock ends soon.
		"ALTER DATABASE " + name + " SET synchronous_commit = off",
		"ALTER DATABASE " + name + " SET deadlock_timeout = '20ms'",
		"ALTER DATABASE " + name + " SET timezone = 'UTC'",
	} {
		if _, err := admin.Exec(context.Background(), statement); err != nil {
			return database{name: name, err: fmt.Errorf("%s: %w", statement, err)}
		}
	}
	return database{name: name, url: pgtest.WithDatabase(d.server, name)}
}

// copyOf is a copy of a database that nobody is connected to.
func (d *Databases) copyOf(ctx context.Context, one database) (database, error) {
	admin, err := pgx.Connect(ctx, d.server)
	if err != nil {
		return database{}, err
	}
	made := d.create(admin, one.name)
	return made, errors.Join(made.err, admin.Close(ctx))
}

func (d *Databases) drop(admin *pgx.Conn, name string) {
	// What cannot be dropped stays until the server goes.
	_, _ = admin.Exec(context.Background(), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

func (d *Databases) take(ctx context.Context) (database, error) {
	select {
	case one := <-d.ready:
		return one, one.err
	case <-ctx.Done():
		return database{}, ctx.Err()
	}
}

func (d *Databases) give(one database) { d.drops <- one.name }

// Close drops what is left.
func (d *Databases) Close() {
	d.end()
	<-d.ended
}
