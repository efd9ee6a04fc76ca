package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kill ends the server as a power failure would: SIGKILL for all its processes, no shutdown of any
// kind. None of them is left when it returns.
func (c *Cluster) Kill() error {
	text, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return fmt.Errorf("find the server: %w", err)
	}
	server, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(string(text), "\n", 2)[0]))
	if err != nil {
		return fmt.Errorf("read postmaster.pid: %w", err)
	}
	// Stopped, it starts no more processes while these are listed, and notices nothing of their end.
	if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	processes := append([]int{server}, children(server)...)
	for _, pid := range processes {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left := 0
		for _, pid := range processes {
			if runs(pid) {
				left++
			}
		}
		if left == 0 {
			// PostgreSQL takes a server that nobody reaped yet for a running one.
			return errors.Join(os.Remove(filepath.Join(c.data(), "postmaster.pid")),
				os.Remove(filepath.Join(c.dir, fmt.Sprintf(".s.PGSQL.%d.lock", c.Port))))
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of the server were killed and still run", left)
		}
	}
}

// children are known where there is a /proc. Elsewhere they end by themselves when they miss their server.
func children(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// runs is false for a zombie: it holds no memory or file, and in a container nobody may ever reap it.
func runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || !procMounted()
	}
	// The state follows the name, which is in parentheses and may hold any character.
	_, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return !bytes.HasPrefix(state, []byte("Z"))
}

func procMounted() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}
