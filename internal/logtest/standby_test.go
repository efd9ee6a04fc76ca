package logtest

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Devices read from a hot standby while the primary is written to; then the primary dies amid its
// writers, and the standby takes its place.
func TestAStandbyShowsTheOrderOfThePrimary(t *testing.T) {
	t.Parallel()
	primary := pgtest.Private(t, pgtest.ClusterConfig{})
	db := pgtest.NewOn(t, primary)
	exec(t, db, itemSchema)
	seal(t, db)
	standby, err := primary.NewStandby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Remove)
	there := openDatabase(t, pgtest.WithDatabase(standby.URL("postgres"), databaseOf(t, db)))
	replicas := itemReplicas(t, there)

	seen := follow(t, there, replicas, func() { runWriters(t, db, 30, 3*time.Second, nil) })
	finishPrepared(t, db)
	seal(t, db)
	catchUp(t, db, there)
	if len(seen) == 0 {
		t.Error("the standby showed no bundle while the primary was written to")
	}
	for _, line := range seen {
		if got := value[string](t, db, bundleLine+` WHERE b.bucket_id = $1 AND b.bundle_seq = $2`, line.bucket, line.seq); got != line.text {
			t.Fatalf("bundle %d of %s was %s on the standby and is %s on the primary", line.seq, line.bucket, line.text, got)
		}
	}
	for what, query := range standbyReads {
		if here, there := lines(t, db, query), lines(t, there, query); fmt.Sprint(here) != fmt.Sprint(there) {
			t.Errorf("%s: %d lines on the primary, %d others on the standby", what, len(here), len(there))
		} else if len(here) == 0 {
			t.Errorf("%s: nothing to compare", what)
		}
	}
	for _, statement := range []string{`SELECT * FROM tide.status`, `SELECT * FROM tide.lag`, `SELECT * FROM tide.check()`} {
		exec(t, there, statement)
	}
	if _, err := there.Exec(t.Context(), `SELECT tide.seal()`); err == nil {
		t.Error("a standby can seal")
	}

	follow(t, there, replicas, func() {
		var killed sync.WaitGroup
		killed.Go(func() {
			time.Sleep(1500 * time.Millisecond)
			if err := primary.Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		})
		runWriters(t, db, 30, 2*time.Second, nil)
		killed.Wait()
	})
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Nobody else ends what was prepared on the primary, and writers would wait for it.
	finishPrepared(t, there)
	runWriters(t, there, 30, 2*time.Second, replicas)
	finishItems(t, there, replicas)
}

// standbyReads are what is to be read on a standby, each with an order.
var standbyReads = map[string]string{
	"bundles":         bundleLine + ` ORDER BY b.bucket_id, b.bundle_seq`,
	"changes":         `SELECT md5(string_agg(c::text, ' ' ORDER BY c.bucket_id, c.bundle_seq, c.row_ordinal)) FROM tide.changes AS c`,
	"tables":          `SELECT s::text FROM tide.tables AS s ORDER BY 1`,
	"buckets":         `SELECT b::text FROM tide.buckets AS b ORDER BY 1`,
	"head":            `SELECT tide.head()::text`,
	"bucket_position": `SELECT tide.bucket_position(b.bucket_id)::text FROM tide.buckets AS b ORDER BY b.bucket_id`,
	"pull":            `SELECT p::text FROM tide.pull('user:1', (SELECT floor_seq FROM tide.bucket_position('user:1')), 50) AS p`,
	"pull of several": `SELECT p::text FROM tide.pull(ARRAY['user:1', 'user:2'], tide.head() - 40, 30) AS p`,
	"bundle_rows":     `SELECT p::text FROM tide.bundle_rows('user:1', (SELECT head_seq FROM tide.bucket_position('user:1'))) AS p`,
	"row_history":     `SELECT h::text FROM generate_series(1, 40) AS g CROSS JOIN LATERAL tide.row_history('app.item', jsonb_build_object('id', g)) AS h ORDER BY 1`,
	"position_of":     `SELECT tide.position_of(c.xid)::text FROM app.committed AS c ORDER BY c.xid`,
}

const bundleLine = `SELECT format('%s %s %s %s %s', b.bucket_id, b.bundle_seq, b.bundle_id, b.xid, b.sealed_at) FROM tide.bundles AS b`

type bundleSeen struct {
	bucket string
	seq    int64
	text   string
}

// follow lets the devices read while f runs, and returns the bundles that were there to be read.
func follow(t *testing.T, db *pgtest.DB, replicas []*replica, f func()) []bundleSeen {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, r := range replicas {
		group.Go(func() {
			for ctx.Err() == nil {
				if err := r.pull(t.Context(), db.Pool, 50); err != nil && !explained(err) {
					t.Errorf("reader: %v", err)
					return
				}
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	var seen []bundleSeen
	group.Go(func() {
		head := value[int64](t, db, `SELECT tide.head()`)
		for ctx.Err() == nil {
			result, err := db.Query(t.Context(), `SELECT b.bundle_id, b.bucket_id, b.bundle_seq, format('%s %s %s %s %s', b.bucket_id, b.bundle_seq, b.bundle_id, b.xid, b.sealed_at)
				FROM tide.bundles AS b WHERE b.bundle_id > $1 ORDER BY b.bundle_id, b.bucket_id`, head)
			if err == nil {
				var s bundleSeen
				_, err = pgx.ForEachRow(result, []any{&head, &s.bucket, &s.seq, &s.text}, func() error { seen = append(seen, s); return nil })
			}
			if err != nil && !explained(err) {
				t.Errorf("read the bundles: %v", err)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	f()
	stop()
	group.Wait()
	return seen
}

// catchUp waits until a standby shows all that is committed on its primary.
func catchUp(t *testing.T, primary, standby *pgtest.DB) {
	t.Helper()
	written := value[string](t, primary, `SELECT pg_current_wal_flush_lsn()::text`)
	for deadline := time.Now().Add(time.Minute); !value[bool](t, standby, `SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn`, written); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the standby does not catch up")
		}
	}
}

func lines(t *testing.T, db *pgtest.DB, query string) []string {
	t.Helper()
	result, err := db.Query(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	got, err := pgx.CollectRows(result, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return got
}

func databaseOf(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Path[1:]
}
