package killtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/cluster"
	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/internal/v1client"
)

const (
	secret  = "a secret of thirty-two bytes and more"
	rounds  = 10
	devices = 4
	schema  = `
		CREATE SCHEMA app;
		CREATE TABLE app.counter (id text PRIMARY KEY, owner_id text NOT NULL, n bigint NOT NULL);
		INSERT INTO app.counter VALUES ('shared', 'ann', 0), ('psql', 'ann', 0);
		SELECT tide.register_table('app.counter', owner_column => 'owner_id', push_policy => 'owner_only')`
)

// frontend is pgtide serve as a process of its own, which can be killed and started again.
type frontend struct {
	binary, addr, database string
	process                *exec.Cmd
	log                    *os.File
}

func (f *frontend) start(t *testing.T) {
	t.Helper()
	f.process = exec.Command(f.binary, "serve", "--addr", f.addr)
	f.process.Env = append(pgtest.Environ(), "DATABASE_URL="+f.database, "PGTIDE_JWT_SECRET="+secret)
	f.process.Stderr = f.log
	if err := f.process.Start(); err != nil {
		t.Fatal(err)
	}
}

func (f *frontend) kill(t *testing.T) {
	t.Helper()
	if err := f.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = f.process.Wait() // it was killed
}

// startTwo fronts on one database.
func startTwo(t *testing.T, database string) []*frontend {
	t.Helper()
	directory := t.TempDir()
	binary := filepath.Join(directory, "pgtide")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/pgtide/pgtide/cmd/pgtide").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	fronts := make([]*frontend, 2)
	for i := range fronts {
		log, err := os.Create(filepath.Join(directory, fmt.Sprintf("serve-%d.log", i)))
		if err != nil {
			t.Fatal(err)
		}
		fronts[i] = &frontend{binary: binary, addr: freeAddress(t), database: database, log: log}
		fronts[i].start(t)
		t.Cleanup(func() { fronts[i].kill(t) })
	}
	return fronts
}

// either connects to one of the fronts that is there, as a load balancer does, anew for each request.
func either(fronts []*frontend) *http.Client {
	var dialer net.Dialer
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			first := rand.IntN(len(fronts))
			conn, err := dialer.DialContext(ctx, network, fronts[first].addr)
			if err != nil {
				conn, err = dialer.DialContext(ctx, network, fronts[1-first].addr)
			}
			return conn, err
		},
	}}
}

// Devices push and pull, the application writes, and now one of two runtimes, now PostgreSQL is killed:
// what was acknowledged is there once, and in the end devices, log and table are the same.
func TestKillsAmidPushesAndPulls(t *testing.T) {
	t.Parallel()
	server := pgtest.Private(t, pgtest.ClusterConfig{Settings: map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}})
	db := pgtest.NewOn(t, server)
	if _, err := db.Exec(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	fronts := startTwo(t, db.URL)
	stop, stopped := context.WithCancel(t.Context())
	var group sync.WaitGroup
	fleet := make([]*counter, devices)
	for i := range fleet {
		fleet[i] = newCounter(t, fronts, i)
		group.Go(func() { fleet[i].work(stop, t) })
	}
	var written atomic.Int64
	group.Go(func() {
		for stop.Err() == nil {
			// An error leaves open whether it was committed: only what was said to be counts.
			if _, err := db.Exec(t.Context(), `UPDATE app.counter SET n = n + 1 WHERE id = 'psql'`); err == nil {
				written.Add(1)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	random := rand.New(rand.NewPCG(4, 2))
	for round := range rounds {
		time.Sleep(time.Duration(500+random.IntN(1200)) * time.Millisecond)
		if round%2 == 0 {
			killed := fronts[round/2%2]
			killed.kill(t)
			time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond) // the other one serves
			killed.start(t)
			continue
		}
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stopped()
	group.Wait()
	db.Reset()
	pushes := int64(0)
	for _, c := range fleet {
		c.settle(t)
		pushes += c.acknowledged
	}
	t.Logf("%d pushes were acknowledged, %d statements of the application, %d kills", pushes, written.Load(), rounds)
	if pushes < rounds {
		t.Error("the devices hardly pushed")
	}
	check(t, db.Pool, fleet, written.Load())
}

// counter is a device that counts: its own row, which nobody else changes, and one that all do.
type counter struct {
	*v1client.Device
	id           string
	n            int64
	acknowledged int64
}

func newCounter(t *testing.T, fronts []*frontend, i int) *counter {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	device, err := v1client.New(v1client.Config{
		URL: "http://pgtide.test", Token: token, Schema: "app", ClientWins: true, Client: either(fronts),
		Tables: []v1client.Table{{Name: "counter", Key: []string{"id"}, Columns: []string{"id", "owner_id", "n"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &counter{Device: device, id: "device " + strconv.Itoa(i)}
}

func (c *counter) work(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		if c.Pending() == 0 && c.Attached() {
			c.edit(t)
		}
		if c.sync(t) {
			c.acknowledged++
		}
	}
}

func (c *counter) edit(t *testing.T) {
	write := c.Update
	if _, there := c.Rows("counter")[c.id]; !there {
		write = c.Insert
	}
	c.n++
	if err := write("counter", fmt.Sprintf(`{"id":%q,"owner_id":"ann","n":%d}`, c.id, c.n)); err != nil {
		t.Error(err)
	}
	if _, there := c.Rows("counter")["shared"]; there && c.n%3 == 0 {
		if err := c.Update("counter", fmt.Sprintf(`{"id":"shared","owner_id":"ann","n":%d}`, c.n)); err != nil {
			t.Error(err)
		}
	}
}

// lostInACrash are refusals of what no log keeps: staged chunks that no commit had flushed yet, and snapshots. The
// device begins its push, or its snapshot, again.
var lostInACrash = []string{"push_session_not_found", "push_commit_invalid", "snapshot_session_not_found"}

// sync says whether the exchange went through. A broken promise of the protocol is never excused.
func (c *counter) sync(t *testing.T) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := c.Sync(ctx)
	var broken *v1client.Violation
	var refused *v1client.APIError
	switch {
	case err == nil:
		return true
	case errors.As(err, &broken):
		t.Errorf("%s: %v", c.id, err)
	case errors.As(err, &refused) && slices.Contains(lostInACrash, refused.Code):
	case errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusConflict:
		t.Errorf("%s: %v", c.id, err)
	}
	time.Sleep(20 * time.Millisecond)
	return false
}

// settle exchanges until nothing is pending.
func (c *counter) settle(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !c.sync(t) || c.Pending() > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come to rest", c.id)
		}
	}
}

func check(t *testing.T, db *pgxpool.Pool, fleet []*counter, written int64) {
	t.Helper()
	// What the application wrote last waits for the duty, which no device has to wait for.
	if _, err := db.Exec(t.Context(), `SELECT tide.seal()`); err != nil {
		t.Fatal(err)
	}
	held := map[string]string{}
	rows, err := db.Query(t.Context(), `SELECT r.id, row_to_json(r)::text, r.n FROM app.counter AS r`)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for rows.Next() {
		var id, row string
		var n int64
		if err := rows.Scan(&id, &row, &n); err != nil {
			t.Fatal(err)
		}
		held[id], counts[id] = row, n
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	if counts["psql"] < written {
		t.Errorf("the application was told of %d commits, the row counts %d", written, counts["psql"])
	}
	for _, c := range fleet {
		if counts[c.id] != c.n {
			t.Errorf("%s counted to %d, the table says %d", c.id, c.n, counts[c.id])
		}
		if err := c.Pull(t.Context()); err != nil {
			t.Error(err)
		}
		mine := c.Rows("counter")
		for id, row := range held {
			if mine[id] != row {
				t.Errorf("%s holds %s, the table %s", c.id, mine[id], row)
			}
		}
		if len(mine) != len(held) {
			t.Errorf("%s holds %d rows, the table %d", c.id, len(mine), len(held))
		}
	}
	var wrong string
	if err := db.QueryRow(t.Context(), `
		SELECT coalesce(string_agg(what, '; '), '') FROM (
			SELECT format('push %s of %s has %s bundles', p.source_bundle_id, p.source_id, count(b.bundle_id)) AS what
			  FROM tide.push_log AS p LEFT JOIN tide.bundles AS b ON b.source_id = p.source_id AND b.source_bundle_id = p.source_bundle_id AND b.bucket_id = 'user:ann'
			 GROUP BY p.source_id, p.source_bundle_id HAVING count(b.bundle_id) <> 1
			 UNION ALL
			SELECT format('source %s has %s pushes up to number %s', p.source_id, count(*), max(p.source_bundle_id)) FROM tide.push_log AS p GROUP BY p.source_id HAVING count(*) <> max(p.source_bundle_id)
			 UNION ALL
			SELECT format('bundle %s of %s is no push', b.source_bundle_id, b.source_id) FROM tide.bundles AS b
			 WHERE b.source_id <> 'server' AND NOT EXISTS (SELECT FROM tide.push_log AS p WHERE p.source_id = b.source_id AND p.source_bundle_id = b.source_bundle_id)
			 UNION ALL
			SELECT format('the bucket has %s bundles up to %s', count(*), max(b.bundle_seq)) FROM tide.bundles AS b WHERE b.bucket_id = 'user:ann' HAVING count(*) + min(b.bundle_seq) - 1 <> max(b.bundle_seq)
		) AS w`).Scan(&wrong); err != nil {
		t.Fatal(err)
	}
	if wrong != "" {
		t.Error(strings.ReplaceAll(wrong, "; ", "\n"))
	}
}

// freeAddress is one that no outgoing connection takes while a front is down.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
