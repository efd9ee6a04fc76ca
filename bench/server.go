package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/cluster"
	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// settings of the server, besides those of internal/cluster: durable as in production, and without what would
// start in the middle of one run and not of the other.
var settings = map[string]string{
	"fsync":              "on",
	"full_page_writes":   "on",
	"synchronous_commit": "on",
	"wal_level":          "replica",
	"shared_buffers":     "1GB",
	"max_wal_size":       "8GB",
	"checkpoint_timeout": "1h",
	"autovacuum":         "off",
	"jit":                "off",
}

// Bench is one run of the benchmark, on a server of its own.
type Bench struct {
	Size Size
	// Server is the URL of the superuser.
	Server string
	// FrontProfile is where the profiles of HTTP fronts are written; empty for nowhere.
	FrontProfile string
	// Only variants with such a name are compared; nil for all.
	Only *regexp.Regexp

	observer  *pgx.Conn
	current   Case
	results   []Result
	databases int
	open      []*Database
	log       func(format string, args ...any)
}

func newBench(ctx context.Context, size Size, server string, log func(format string, args ...any)) (*Bench, error) {
	observer, err := pgx.Connect(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &Bench{Size: size, Server: server, observer: observer, log: log}, nil
}

func startServer(ctx context.Context, settings map[string]string) (*cluster.Cluster, error) {
	server, err := cluster.New(ctx, cluster.Config{Settings: settings})
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w; install its server (Debian: apt-get install postgresql), or name the directory of its programs in %s", err, cluster.EnvBinDir)
	}
	return server, nil
}

// run of a case drops its databases at the end.
func (b *Bench) run(ctx context.Context, c Case) error {
	b.current = c
	b.log("case %d: %s", c.Number, c.Title)
	began := time.Now()
	err := c.Run(ctx, b)
	for _, d := range b.open {
		// Also when ctx ended: the server may be somebody else's.
		err = errors.Join(err, b.drop(context.WithoutCancel(ctx), d))
	}
	b.open = nil
	if err != nil {
		return fmt.Errorf("case %d: %w", c.Number, err)
	}
	b.log("case %d took %.0f s", c.Number, time.Since(began).Seconds())
	return nil
}

// Database is one of a case's own, with pgtide.
type Database struct {
	*pgxpool.Pool
	Name, URL string
	sessions  []*pgx.Conn
	fronts    []*front
	profile   string
}

// Database makes one, dropped when the case ends.
func (b *Bench) Database(ctx context.Context) (*Database, error) {
	b.databases++
	d := &Database{Name: fmt.Sprintf("pgtide_bench_%d_%d", os.Getpid(), b.databases)}
	d.URL = pgtest.WithDatabase(b.Server, d.Name)
	if b.FrontProfile != "" {
		d.profile = fmt.Sprintf("%s.front%d", b.FrontProfile, b.databases)
	}
	if _, err := b.observer.Exec(ctx, "CREATE DATABASE "+d.Name+" TEMPLATE template0"); err != nil {
		return nil, fmt.Errorf("create a database: %w", err)
	}
	b.open = append(b.open, d)
	if _, err := install.Up(ctx, d.URL); err != nil {
		return nil, fmt.Errorf("install pgtide: %w", err)
	}
	var err error
	if d.Pool, err = pgxpool.New(ctx, d.URL); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return d, nil
}

func (b *Bench) drop(ctx context.Context, d *Database) (err error) {
	for _, front := range d.fronts {
		err = errors.Join(err, front.close())
	}
	for _, session := range d.sessions {
		_ = session.Close(ctx) // it ends with the database at the latest
	}
	if d.Pool != nil {
		d.Close()
	}
	_, dropped := b.observer.Exec(ctx, "DROP DATABASE "+d.Name+" WITH (FORCE)")
	return errors.Join(err, dropped)
}

// Session opens a connection of the case's own, closed with the database.
func (d *Database) Session(ctx context.Context, settings ...string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, d.URL)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	d.sessions = append(d.sessions, conn)
	for _, setting := range settings {
		if _, err := conn.Exec(ctx, "SET "+setting); err != nil {
			return nil, fmt.Errorf("set %s: %w", setting, err)
		}
	}
	return conn, nil
}

// Settle does what autovacuum, which is off, would have done to what was loaded.
func (d *Database) Settle(ctx context.Context) error {
	if _, err := d.Exec(ctx, "VACUUM (ANALYZE)"); err != nil {
		return fmt.Errorf("vacuum: %w", err)
	}
	return nil
}

// Machine is where it ran.
type Machine struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	MemoryMB int64             `json:"memory_mb"`
	System   string            `json:"system"`
	Go       string            `json:"go"`
	Postgres string            `json:"postgres"`
	Settings map[string]string `json:"settings"`
}

func (b *Bench) machine(ctx context.Context, settings map[string]string) (Machine, error) {
	m := Machine{
		CPU:      valueIn("/proc/cpuinfo", "model name"),
		Cores:    runtime.NumCPU(),
		MemoryMB: leadingNumber([]byte(valueIn("/proc/meminfo", "MemTotal"))) / 1024,
		System:   runtime.GOOS + "/" + runtime.GOARCH,
		Go:       runtime.Version(),
		Settings: map[string]string{},
	}
	if err := b.observer.QueryRow(ctx, "SHOW server_version").Scan(&m.Postgres); err != nil {
		return m, fmt.Errorf("ask for the version: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		var value string
		if err := b.observer.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
			return m, fmt.Errorf("ask for %s: %w", name, err)
		}
		m.Settings[name] = value
	}
	return m, nil
}

// same machine, as far as figures can be compared.
func (m Machine) same(other Machine) bool {
	return m.CPU == other.CPU && m.Cores == other.Cores && m.System == other.System && m.Postgres == other.Postgres && maps.Equal(m.Settings, other.Settings)
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %d MB, %s, %s, PostgreSQL %s", m.CPU, m.Cores, m.MemoryMB, m.System, m.Go, m.Postgres)
}

// valueIn a file of lines "name : value"; empty where there is none.
func valueIn(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if found, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(found) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
