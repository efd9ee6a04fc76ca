package hostiletest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Whatever was sent, nothing runs on when all servers are closed, be it that what ends takes its time. What
// watches over a cluster that was started for these tests alone lasts as long as they.
func TestMain(m *testing.M) {
	code := m.Run()
	for deadline := time.Now().Add(time.Minute); code == 0; {
		left := goleak.Find(goleak.IgnoreAnyFunction("github.com/pgtide/pgtide/internal/cluster.startWatchdog.func1"))
		if left == nil {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, left)
			code = 1
		}
	}
	os.Exit(code)
}
