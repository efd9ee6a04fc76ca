package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgtide/pgtide/internal/cluster"
)

// What starts PgBouncer in a directory and ends it when the pipe from this process closes.
const bouncerScript = `
trap '' HUP INT QUIT TERM PIPE
"$1" "$2/pgbouncer.ini" >"$2/log" 2>&1 &
bouncer=$!
read -r nothing
kill -KILL $bouncer
rm -rf "$2"`

// Bounced starts PgBouncer in transaction mode before the cluster, with so many connections of a
// role to a database, and returns what makes a URL of the cluster one of PgBouncer.
func Bounced(t testing.TB, c *Cluster, connections int, roles ...string) func(databaseURL string) string {
	t.Helper()
	program, err := findBouncer()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	dir, err := os.MkdirTemp("", "pgtide-bouncer-")
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	// Whoever the server trusts comes in; settings that only our tests send are taken for what they are.
	config := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s/users
pool_mode = transaction
default_pool_size = %d
max_client_conn = 500
ignore_startup_parameters = search_path, deadlock_timeout
`, c.Port, port, dir, connections)
	var users string
	for _, role := range append(roles, "postgres") {
		users += fmt.Sprintf("%q \"\"\n", role)
	}
	for name, text := range map[string]string{"pgbouncer.ini": config, "users": users, "log": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatalf("pgtest: %v", err)
		}
	}
	if err := giveTo(dir, c.Owner); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	cmd := exec.Command("/bin/sh", "-c", bouncerScript, "pgtide-bouncer", program, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.Owner, Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("pgtest: start pgbouncer: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("pgtest: start pgbouncer: %v", err)
	}
	t.Cleanup(func() {
		_ = in.Close()        // tells the script to end it
		_ = cmd.Wait()        // whose result has nobody to go to
		_ = os.RemoveAll(dir) // the script has removed what it may
	})
	bounced := func(databaseURL string) string {
		u, err := url.Parse(databaseURL)
		if err != nil {
			panic(err) // it was made here
		}
		u.Host = fmt.Sprintf("127.0.0.1:%d", port)
		return u.String()
	}
	if err := cluster.WaitReady(context.Background(), bounced(c.URL("postgres"))); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "log")) // only adds to the error
		t.Fatalf("pgtest: pgbouncer: %v\n%s", err, strings.TrimSpace(string(text)))
	}
	return bounced
}

// giveTo makes the server's user the owner of a directory and its files: PgBouncer does not run as root either.
func giveTo(dir string, owner *syscall.Credential) error {
	if owner == nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, entry := range entries {
		err = errors.Join(err, os.Chown(filepath.Join(dir, entry.Name()), int(owner.Uid), int(owner.Gid)))
	}
	return errors.Join(err, os.Chown(dir, int(owner.Uid), int(owner.Gid)))
}

// findBouncer also looks where Debian puts it, which is not in everybody's PATH.
func findBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("pgbouncer is needed: install it (Debian: apt-get install pgbouncer)")
}
