package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// NewStandby makes a hot standby that streams from this cluster, and waits until it can be read. It
// takes pg_basebackup from beside the server.
func (c *Cluster) NewStandby(ctx context.Context) (*Cluster, error) {
	s := &Cluster{BinDir: c.BinDir, Owner: c.Owner}
	var err error
	if s.dir, s.watchdog, err = startWatchdog(s.BinDir, s.Owner); err != nil {
		return nil, err
	}
	if err := s.copyFrom(ctx, c); err != nil {
		s.Remove()
		return nil, err
	}
	if err := s.startSomewhere(ctx); err != nil {
		s.Remove()
		return nil, err
	}
	return s, nil
}

func (c *Cluster) copyFrom(ctx context.Context, primary *Cluster) error {
	if _, err := os.Stat(filepath.Join(c.BinDir, "pg_basebackup")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pg_basebackup is not beside the server in %s: install the client of the same version (Debian: apt-get install postgresql-client)", c.BinDir)
	}
	if err := c.run(ctx, "pg_basebackup", "-h", "127.0.0.1", "-p", strconv.Itoa(primary.Port), "-U", "postgres", "-D", c.data(),
		"--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"); err != nil {
		return err
	}
	// The rest is as the primary has it, and a standby needs it so.
	return c.configure(map[string]string{"unix_socket_directories": c.dir})
}

// Promote makes a standby a primary, and waits until it is one.
func (c *Cluster) Promote(ctx context.Context) error {
	return c.run(ctx, "pg_ctl", "-D", c.data(), "-w", "-t", "60", "promote")
}
