package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// EnvBinDir names a directory with server binaries (initdb, postgres, pg_ctl).
const EnvBinDir = "PGTIDE_TEST_BINDIR"

// Where packages put the binaries, which are often not in PATH: Debian and Ubuntu, Red Hat, Homebrew.
var packagedBinaries = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"}

// findBinaries looks for initdb, postgres and pg_ctl in one directory: the one that is named, or
// else PATH, then the newest of the usual places.
func findBinaries() (string, error) {
	if named := os.Getenv(EnvBinDir); named != "" {
		// The programs are started in another directory.
		dir, err := filepath.Abs(named)
		if err != nil {
			return "", fmt.Errorf("%s: %w", EnvBinDir, err)
		}
		if !hasBinaries(dir) {
			return "", fmt.Errorf("%s is %s, which lacks initdb, postgres or pg_ctl", EnvBinDir, dir)
		}
		return dir, nil
	}
	var candidates []string
	for _, pattern := range packagedBinaries {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		candidates = append(candidates, found...)
	}
	slices.SortStableFunc(candidates, func(a, b string) int { return majorOf(b) - majorOf(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			candidates = append([]string{filepath.Dir(real)}, candidates...)
		}
	}
	for _, dir := range candidates {
		if hasBinaries(dir) {
			return dir, nil
		}
	}
	return "", errors.New("no server binaries in PATH, " + strings.Join(packagedBinaries, ", "))
}

func hasBinaries(dir string) bool {
	for _, program := range []string{"initdb", "postgres", "pg_ctl"} {
		if info, err := os.Stat(filepath.Join(dir, program)); err != nil || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

var number = regexp.MustCompile(`\d+`)

func majorOf(dir string) int {
	major, _ := strconv.Atoi(number.FindString(filepath.Dir(dir))) // 0 sorts last
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
