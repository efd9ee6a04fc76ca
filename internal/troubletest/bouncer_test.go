package troubletest

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// The whole exchange goes through a PgBouncer in transaction mode, with fewer connections than there
// are devices, when statements are not prepared.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	db := pgtest.NewOn(t, cluster)
	if _, err := db.Exec(t.Context(), `CREATE ROLE front LOGIN IN ROLE tide_runtime`); err != nil {
		t.Fatal(err)
	}
	url := pgtest.Bounced(t, cluster, 4, "front")(db.As("front"))
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	s := newSite(t, db, url+separator+"default_query_exec_mode=exec")
	devices := make([]*counter, 6)
	var group sync.WaitGroup
	for i := range devices {
		devices[i] = s.counter(t, i)
		group.Go(func() {
			for range 10 {
				devices[i].count(t)
			}
		})
	}
	group.Wait()
	s.settle(t, devices)
	// One more device begins from a snapshot, and the forms of pgtide say the same.
	fresh := s.counter(t, len(devices))
	until(t, "a fresh device", func() bool { return fresh.sync(t) })
	if len(fresh.Rows("counter")) != len(devices) {
		t.Errorf("it holds %v", fresh.Rows("counter"))
	}
	if status, body := s.get(t, http.MethodGet, "/sync/snapshot", ""); status != http.StatusOK || strings.Count(body, `"table":"counter"`) != len(devices) || !strings.Contains(body, `{"done":true`) {
		t.Errorf("the stream: %d %s", status, body)
	}
	if status, body := s.get(t, http.MethodPost, "/sync/push", pushOf(1)); status != http.StatusOK || !strings.Contains(body, `"desk 1"`) {
		t.Errorf("a push: %d %s", status, body)
	}
	for _, path := range []string{"/sync/pull", "/sync/capabilities", "/readyz"} {
		if status, body := s.get(t, http.MethodGet, path, ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
