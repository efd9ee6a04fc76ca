package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ClusterConfig describes a throwaway cluster. The zero value works.
type ClusterConfig struct {
	// BinDir has the server binaries. Defaults to what EnvBinDir, PATH and the usual places offer.
	BinDir string
	// Settings are added to postgresql.conf.
	Settings map[string]string
}

// Cluster is a PostgreSQL cluster in a temporary directory, removed when this process ends, however it ends.
type Cluster struct {
	BinDir   string
	dir      string
	port     int
	owner    *syscall.Credential // nil: who runs this process
	watchdog io.Closer
}

// settings that tests need from any server.
var settings = map[string]string{
	"max_connections":           "300",
	"max_prepared_transactions": "64",
	"shared_buffers":            "256MB",
	"max_wal_size":              "4GB",
	"wal_level":                 "logical",
}

func settingFlags() []string {
	var flags []string
	for name, value := range settings {
		flags = append(flags, "-c", name+"="+value)
	}
	return flags
}

// NewCluster makes and starts a cluster.
func NewCluster(ctx context.Context, config ClusterConfig) (*Cluster, error) {
	c := &Cluster{BinDir: config.BinDir}
	var err error
	if c.BinDir == "" {
		if c.BinDir, err = findBinaries(); err != nil {
			return nil, err
		}
	}
	if c.owner, err = unprivileged(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "pgtide-test-"); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if c.owner != nil {
		if err := os.Chown(c.dir, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
			return nil, fmt.Errorf("give the directory to the server's user: %w", err)
		}
	}
	if err := c.startWatchdog(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	if err := c.initialize(ctx, config.Settings); err != nil {
		c.Remove()
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		c.Remove()
		return nil, err
	}
	return c, nil
}

// URL connects the superuser to a database.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", c.port, database)
}

// Start starts the server and waits until it answers.
func (c *Cluster) Start(ctx context.Context) error {
	// After a kill -9 the old children may still hold the shared memory for a moment.
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := c.run(ctx, "pg_ctl", "-D", c.data(), "-l", filepath.Join(c.dir, "log"), "-w", "-t", "60", "start")
		if err == nil {
			return waitReady(ctx, c.URL("postgres"))
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			log, _ := os.ReadFile(filepath.Join(c.dir, "log")) // only adds to an error that is there anyway
			return fmt.Errorf("%w\n%s", err, log)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// Stop shuts the server down, rolling back what is open.
func (c *Cluster) Stop(ctx context.Context) error {
	return c.run(ctx, "pg_ctl", "-D", c.data(), "-m", "fast", "-w", "stop")
}

// Kill ends the server as a power failure would: SIGKILL, no shutdown of any kind.
func (c *Cluster) Kill() error {
	text, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return fmt.Errorf("find the server: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(string(text), "\n", 2)[0]))
	if err != nil {
		return fmt.Errorf("read postmaster.pid: %w", err)
	}
	// The children first, so that none goes on writing after its server is gone.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err == nil {
		for _, field := range strings.Fields(string(children)) {
			if child, err := strconv.Atoi(field); err == nil {
				_ = syscall.Kill(child, syscall.SIGKILL) // it may have ended by itself
			}
		}
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// Remove stops the server and deletes its files.
func (c *Cluster) Remove() {
	_ = c.run(context.Background(), "pg_ctl", "-D", c.data(), "-m", "immediate", "-w", "stop") // it may not run
	if err := os.RemoveAll(c.dir); err != nil {
		fmt.Fprintf(os.Stderr, "pgtest: %v\n", err)
	}
	_ = c.watchdog.Close() // it finds nothing left to do
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) initialize(ctx context.Context, extra map[string]string) error {
	if err := c.run(ctx, "initdb", "-D", c.data(), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	c.port = listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return fmt.Errorf("free the port: %w", err)
	}
	conf, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open postgresql.conf: %w", err)
	}
	defer conf.Close()
	fmt.Fprintf(conf, "listen_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = '%s'\n", c.port, c.dir)
	for _, group := range []map[string]string{settings, extra} {
		for name, value := range group {
			fmt.Fprintf(conf, "%s = '%s'\n", name, value)
		}
	}
	return nil
}

func (c *Cluster) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.BinDir, program), args...)
	cmd.Dir = c.dir
	// A process group of its own: Ctrl-C at the terminal ends the tests, and they end the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner, Setpgid: true}
	// pg_ctl leaves the server behind with its output: a pipe would never see the end of it.
	output, err := os.CreateTemp(c.dir, "output-")
	if err != nil {
		return fmt.Errorf("catch the output of %s: %w", program, err)
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(output.Name()) // only adds to the error
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(text)))
	}
	return nil
}

// startWatchdog leaves a shell waiting on a pipe from this process. The pipe closes when the
// process ends, even by kill -9, and the shell then removes the cluster.
func (c *Cluster) startWatchdog() error {
	cmd := exec.Command("/bin/sh", "-c", `read line; [ -d "$2" ] || exit 0; "$1/pg_ctl" -D "$2/data" -m immediate -w stop; rm -rf "$2"`, "pgtide-watchdog", c.BinDir, c.dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner, Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("prepare the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the watchdog: %w", err)
	}
	c.watchdog = pipe
	return nil
}

// findBinaries looks for initdb, postgres and pg_ctl in one directory.
func findBinaries() (string, error) {
	candidates := []string{os.Getenv(EnvBinDir)}
	if candidates[0] == "" {
		candidates, _ = filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well formed
		slices.SortFunc(candidates, func(a, b string) int { return majorOf(b) - majorOf(a) })
		if path, err := exec.LookPath("initdb"); err == nil {
			if real, err := filepath.EvalSymlinks(path); err == nil {
				candidates = append([]string{filepath.Dir(real)}, candidates...)
			}
		}
	}
	for _, dir := range candidates {
		complete := true
		for _, program := range []string{"initdb", "postgres", "pg_ctl"} {
			if info, err := os.Stat(filepath.Join(dir, program)); err != nil || info.Mode()&0o111 == 0 {
				complete = false
			}
		}
		if complete {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no server binaries in %s", strings.Join(append([]string{"PATH"}, candidates...), ", "))
}

func majorOf(dir string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))) // 0 sorts last
	return major
}

// unprivileged returns who runs the server when this process is root, which PostgreSQL refuses to run as.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read uid of %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read gid of %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}
