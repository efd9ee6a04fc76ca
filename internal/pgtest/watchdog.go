package pgtest

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// What the watchdog runs, given the binaries and the cluster's directory. It reads until the pipe
// closes. An initdb or pg_ctl that was at work when its process died goes on for a moment and would
// leave new files behind: hence more than one round.
const watchdogScript = `
trap '' HUP INT QUIT TERM
read -r nothing
[ -d "$2" ] || exit 0
for round in 1 2 3 4 5; do
	if [ -d "$2" ]; then
		"$1/pg_ctl" -D "$2/data" -m immediate -w -t 10 stop
		rm -rf "$2"
	fi
	sleep 1
done`

// startWatchdog leaves a shell waiting on a pipe from this process. The pipe closes when the
// process ends, even by kill -9, and the shell then removes the cluster.
func startWatchdog(binDir, dir string, owner *syscall.Credential) (io.Closer, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "pgtide-watchdog", binDir, dir)
	cmd.Dir = "/"
	// A process group of its own: Ctrl-C at the terminal is not meant for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("prepare the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	go func() { _ = cmd.Wait() }() // its result has nobody to go to; without a Wait it would stay as a zombie
	return pipe, nil
}
