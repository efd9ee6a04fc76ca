package hostiletest

import (
	"testing"

	"go.uber.org/goleak"
)

// Whatever was sent, nothing runs on when all servers are closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
