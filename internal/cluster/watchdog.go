package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// What the watchdog runs, given where the binaries are and where its directory is to be. It makes
// the directory, says its name, and reads until the pipe closes. An initdb or pg_ctl that was at
// work when its process died goes on for a moment and would leave new files behind: hence more
// than one round.
const watchdogScript = `
trap '' HUP INT QUIT TERM PIPE
dir=$(mktemp -d "$2/pgtide-test-XXXXXXXX" 2>&1) || { echo "$dir"; exit 1; }
echo "$dir" 2>/dev/null
exec >/dev/null 2>&1
read -r nothing
[ -d "$dir" ] || exit 0
for round in $(seq 30); do
	if [ -d "$dir" ]; then
		"$1/pg_ctl" -D "$dir/data" -m immediate -w -t 10 stop
		rm -rf "$dir"
	fi
	sleep 1
done`

// startWatchdog makes a directory that belongs to the server's user, and leaves a shell waiting on
// a pipe from this process. The pipe closes when the process ends, even by kill -9, and the shell
// then stops the server in the directory and removes it.
func startWatchdog(binDir string, owner *syscall.Credential) (dir string, watchdog io.Closer, err error) {
	base := os.TempDir()
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "pgtide-watchdog", binDir, base)
	cmd.Dir = "/"
	// A process group of its own: Ctrl-C at the terminal is not meant for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, fmt.Errorf("prepare the watchdog: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, fmt.Errorf("prepare the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start the watchdog: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { _ = cmd.Wait() }() // its result has nobody to go to; without a Wait it would stay as a zombie
	dir = strings.TrimSpace(line)
	if info, statErr := os.Stat(dir); err != nil || statErr != nil || !info.IsDir() {
		return "", nil, errors.Join(fmt.Errorf("make a directory in %s (TMPDIR) as the server's user: %s", base, dir), in.Close())
	}
	return dir, in, nil
}
