package exchangetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/v1client"
)

const (
	accounts = 60
	riches   = accounts * 1000
)

// The application moves amounts between rows, in one transaction each: whenever a device is in step,
// the sum is what it always was. Devices take snapshots and pull while that goes on.
func TestSnapshotAndPullAreTheTableWhileOthersWrite(t *testing.T) {
	t.Parallel()
	s := newSite(t, fmt.Sprintf(`INSERT INTO app.doc SELECT 'd' || g, 'ann', NULL, 1000 FROM generate_series(1, %d) AS g`, accounts))
	ctx, stop := context.WithCancel(t.Context())
	var writers, devices sync.WaitGroup
	for range 3 {
		writers.Go(func() {
			for ctx.Err() == nil {
				if err := s.move(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all := make(chan *v1client.Device, 100)
	for _, size := range []int{1, 7, 60, 61, 5000} {
		devices.Go(func() {
			d := s.device(t, "ann", func(c *v1client.Config) { c.PageRows, c.PullBundles = size, size })
			for range 6 {
				must(t, d.Sync(ctx))
				whole(t, d, "after a pull")
				must(t, d.Rebuild(ctx, ""))
				whole(t, d, "after a snapshot")
			}
			all <- d
		})
	}
	devices.Wait()
	stop()
	writers.Wait()
	close(all)
	s.exec(t, `SELECT tide.seal()`)
	for d := range all {
		must(t, d.Sync(t.Context()))
		s.same(t, "ann", d)
	}
	if left := value[int](t, s, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`); left != 0 {
		t.Errorf("%d transactions are held open", left)
	}
	if left := value[int](t, s, `SELECT (SELECT count(*) FROM tide.snapshot_session) + (SELECT count(*) FROM tide.snapshot_page)`); left != 0 {
		t.Errorf("%d snapshots and rows of snapshots are left", left)
	}
}

func (s *site) move(ctx context.Context) error {
	from, to := 1+rand.IntN(accounts), 1+rand.IntN(accounts)
	if from == to {
		return nil
	}
	// In the order of the keys, so that two do not wait for each other.
	sign := 1
	if from > to {
		from, to, sign = to, from, -1
	}
	return pgx.BeginFunc(ctx, s.db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE app.doc SET n = n - $2 WHERE id = $1`, fmt.Sprintf("d%d", from), sign); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE app.doc SET n = n + $2 WHERE id = $1`, fmt.Sprintf("d%d", to), sign)
		return err
	})
}

func whole(t *testing.T, d *v1client.Device, when string) {
	t.Helper()
	sum := 0
	for _, row := range d.Rows("doc") {
		var n int
		if _, err := fmt.Sscanf(row[nAt(row):], "%d", &n); err != nil {
			t.Errorf("%s: %v", row, err)
		}
		sum += n
	}
	if sum != riches || len(d.Rows("doc")) != accounts {
		t.Errorf("%s: %d rows with a sum of %d, not %d with %d", when, len(d.Rows("doc")), sum, accounts, riches)
	}
}

// Ended sessions are refused by name, and cleaned away with all they held.
func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.attached(t, "ann")
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)), d.Sync(t.Context()))
	me := caller{s: s, token: token(t, "ann"), source: d.SourceID()}
	push := field(t, me.want(t, 200, "", "POST", "/sync/push-sessions", `{"source_bundle_id":2,"planned_row_count":1}`), "push_id")
	snapshot := field(t, me.want(t, 200, "", "POST", "/sync/snapshot-sessions", ``), "snapshot_id")
	s.exec(t, `UPDATE tide.push_session SET expires_at = clock_timestamp()`, `UPDATE tide.snapshot_session SET expires_at = clock_timestamp()`)
	chunk := `{"start_row_ordinal":0,"rows":[{"schema":"app","table":"doc","key":{"id":"b"},"op":"INSERT","base_row_version":0,"payload":` + doc("ann", "b", "two", 1) + `}]}`
	// The sealing duty may have cleaned them already: then they are not found.
	for _, c := range []struct{ method, path, body, kind string }{
		{"POST", "/sync/push-sessions/" + push + "/chunks", chunk, "push"},
		{"POST", "/sync/push-sessions/" + push + "/commit", "", "push"},
		{"GET", "/sync/snapshot-sessions/" + snapshot, "", "snapshot"},
	} {
		status, answer := me.send(t, c.method, c.path, c.body)
		if status != 410 && status != 404 {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, answer)
		}
	}
	s.exec(t, `SELECT tide.clean_sessions()`)
	if left := value[int](t, s, `SELECT (SELECT count(*) FROM tide.push_session) + (SELECT count(*) FROM tide.push_chunk) + (SELECT count(*) FROM tide.snapshot_session) + (SELECT count(*) FROM tide.snapshot_page)`); left != 0 {
		t.Errorf("%d rows are left of ended sessions", left)
	}
	must(t, d.Update("doc", doc("ann", "a", "one", 2)), d.Sync(t.Context()))
	s.same(t, "ann", d)
}

// One user's devices, however many, hold a bounded number of sessions, also when all ask at once.
func TestSessionsOfOneUserAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t, `INSERT INTO app.doc VALUES ('a', 'ann', NULL, 1)`, `SELECT tide.seal()`)
	limits := [2]int{value[int](t, s, `SELECT max_push_sessions FROM tide.setting`), value[int](t, s, `SELECT max_snapshot_sessions FROM tide.setting`)}
	var group sync.WaitGroup
	for i := range 60 {
		me := caller{s: s, token: token(t, "ann"), source: fmt.Sprint("device ", i)}
		group.Go(func() {
			for path, body := range map[string]string{"/sync/push-sessions": `{"source_bundle_id":1,"planned_row_count":1}`, "/sync/snapshot-sessions": ""} {
				if status, answer := me.send(t, "POST", path, body); status != 200 && status != 429 && status != 503 {
					t.Errorf("%s: %d %s", path, status, answer)
				}
			}
		})
	}
	group.Wait()
	for i, table := range []string{"push_session", "snapshot_session"} {
		if open := value[int](t, s, `SELECT count(*) FROM tide.`+table); open > limits[i] || open == 0 {
			t.Errorf("%d rows in %s, at most %d are allowed", open, table, limits[i])
		}
	}
	// Another user is not held up.
	var later *v1client.RetryLaterError
	if err := s.device(t, "bob").Sync(t.Context()); errors.As(err, &later) || err != nil {
		t.Errorf("another user: %v", err)
	}
}
