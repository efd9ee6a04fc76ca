// Package cluster runs throwaway PostgreSQL clusters with the server binaries on this machine.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Config describes a throwaway cluster. The zero value works.
type Config struct {
	// BinDir has the server binaries. Defaults to what EnvBinDir, PATH and the usual places offer.
	BinDir string
	// Settings are added to postgresql.conf.
	Settings map[string]string
}

// Cluster is a PostgreSQL cluster in a temporary directory, removed when this process ends, however it ends.
type Cluster struct {
	BinDir string
	Port   int
	// Owner runs the server. Nil is who runs this process.
	Owner    *syscall.Credential
	dir      string
	watchdog io.Closer
}

// Settings are what our tests need from any server.
var Settings = map[string]string{
	"max_connections":           "300",
	"max_prepared_transactions": "64",
	"shared_buffers":            "256MB",
	"max_wal_size":              "4GB",
	"wal_level":                 "logical",
	// Queries that tests compare with would be compiled for seconds; what is ours turns it off itself.
	"jit": "off",
}

// New makes and starts a cluster.
func New(ctx context.Context, config Config) (*Cluster, error) {
	c := &Cluster{BinDir: config.BinDir}
	var err error
	if c.BinDir == "" {
		if c.BinDir, err = findBinaries(); err != nil {
			return nil, err
		}
	}
	if c.Owner, err = unprivileged(); err != nil {
		return nil, err
	}
	if c.dir, c.watchdog, err = startWatchdog(c.BinDir, c.Owner); err != nil {
		return nil, err
	}
	if err := c.initialize(ctx, config.Settings); err != nil {
		c.Remove()
		return nil, err
	}
	if err := c.startSomewhere(ctx); err != nil {
		c.Remove()
		return nil, err
	}
	return c, nil
}

// startSomewhere starts the server on a port that it keeps from then on.
func (c *Cluster) startSomewhere(ctx context.Context) error {
	for try := 0; ; try++ {
		var err error
		if c.Port, err = FreePort(); err == nil {
			err = c.start(ctx)
		}
		// Else somebody was faster.
		if err == nil || try == 10 || !strings.Contains(err.Error(), "Address already in use") {
			return err
		}
	}
}

// URL connects the superuser to a database.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", c.Port, database)
}

// Start starts the server again, on the port it had, and waits until it answers.
func (c *Cluster) Start(ctx context.Context) error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		err := c.start(ctx)
		// What a killed server held, its port or its memory, may be held for a moment more.
		if err == nil || !strings.Contains(err.Error(), "in use") || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
	}
}

func (c *Cluster) start(ctx context.Context) error {
	log := filepath.Join(c.dir, "log")
	var before int64
	if info, err := os.Stat(log); err == nil { // the first start has none
		before = info.Size()
	}
	err := c.run(ctx, "pg_ctl", "-D", c.data(), "-l", log, "-o", fmt.Sprintf("-p %d", c.Port), "-w", "-t", "60", "start")
	if err != nil {
		text, _ := os.ReadFile(log) // only adds to the error
		return fmt.Errorf("%w\n%s", err, text[min(int(before), len(text)):])
	}
	return WaitReady(ctx, c.URL("postgres"))
}

// Stop shuts the server down, rolling back what is open.
func (c *Cluster) Stop(ctx context.Context) error {
	return c.run(ctx, "pg_ctl", "-D", c.data(), "-m", "fast", "-w", "stop")
}

// Remove stops the server and deletes its files.
func (c *Cluster) Remove() {
	_ = c.run(context.Background(), "pg_ctl", "-D", c.data(), "-m", "immediate", "-w", "stop") // it may not run
	if err := os.RemoveAll(c.dir); err != nil {
		fmt.Fprintf(os.Stderr, "remove the cluster: %v\n", err)
	}
	_ = c.watchdog.Close() // it finds nothing left to do
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) initialize(ctx context.Context, extra map[string]string) error {
	if err := c.run(ctx, "initdb", "-D", c.data(), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"); err != nil {
		return err
	}
	return c.configure(map[string]string{"listen_addresses": "127.0.0.1", "unix_socket_directories": c.dir}, Settings, extra)
}

// configure adds to postgresql.conf, where the last line about a setting counts.
func (c *Cluster) configure(groups ...map[string]string) error {
	var conf string
	for _, group := range groups {
		for name, value := range group {
			conf += fmt.Sprintf("%s = '%s'\n", name, value)
		}
	}
	file, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open postgresql.conf: %w", err)
	}
	_, err = file.WriteString(conf)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write postgresql.conf: %w", err)
	}
	return nil
}

// FreePort draws from below the ports that systems give to outgoing connections: one of those
// would take the port while a killed server is down.
func FreePort() (int, error) {
	for try := 0; ; try++ {
		port := 20000 + rand.IntN(12000)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
		if try == 100 {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
	}
}

func (c *Cluster) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.BinDir, program), args...)
	cmd.Dir = c.dir
	// A process group of its own: Ctrl-C at the terminal ends the tests, and they end the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.Owner, Setpgid: true}
	// pg_ctl leaves the server behind with its output: a pipe would never see the end of it.
	output, err := os.CreateTemp(c.dir, "output-")
	if err != nil {
		return fmt.Errorf("catch the output of %s: %w", program, err)
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	err = cmd.Run()
	if errors.Is(err, fs.ErrPermission) && c.Owner != nil {
		return fmt.Errorf("%s: %w: the server runs as uid %d, who must be allowed into %s", program, err, c.Owner.Uid, c.BinDir)
	}
	if err != nil {
		text, _ := os.ReadFile(output.Name()) // only adds to the error
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(text)))
	}
	return nil
}

// WaitReady waits until the server answers.
func WaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the server: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
