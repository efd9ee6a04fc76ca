package pgtest

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Psql returns a psql that runs on its own, without anybody's settings. It ends with the test.
func Psql(t testing.TB, arguments ...string) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("psql")
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/psql") // the pattern is well formed
		if len(found) == 0 {
			t.Fatal("psql is needed: install a PostgreSQL client (Debian: apt-get install postgresql-client)")
		}
		program = found[len(found)-1]
	}
	return exec.CommandContext(t.Context(), program, append([]string{"-X"}, arguments...)...)
}
