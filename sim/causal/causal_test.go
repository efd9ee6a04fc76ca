package causal

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/client"
	"github.com/pgtide/pgtide/internal/cluster"
	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/pgtest"
)

var (
	forFlag  = flag.Duration("causal", 6*time.Second, "how long the clients work")
	seedFlag = flag.Uint64("causal-seed", 0, "what the clients and the faults are drawn from (default: a fresh one)")
)

const (
	secret   = "a secret of thirty-two bytes and more"
	devices  = 5
	files    = 2 // of them of client/
	sessions = 2
	schema   = `
		CREATE SCHEMA app;
		CREATE TABLE app.register (k integer PRIMARY KEY, owner_id text NOT NULL, v bigint NOT NULL DEFAULT 0);
		INSERT INTO app.register SELECT g, 'ann' FROM generate_series(0, 99) AS g;
		CREATE FUNCTION app.larger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := greatest(NEW.v, OLD.v); RETURN NEW; END $$;
		CREATE TRIGGER larger BEFORE UPDATE ON app.register FOR EACH ROW EXECUTE FUNCTION app.larger();
		SELECT tide.register_table('app.register', owner_column => 'owner_id', push_policy => 'owner_only')`
)

// bench is what the clients work on, and what can happen to it.
type bench struct {
	t        *testing.T
	cluster  *pgtest.Cluster
	url      string
	addr     string
	binary   string
	log      *os.File
	runtime  *exec.Cmd
	checker  *Checker
	values   atomic.Int64
	networks []*network
	told     sync.Mutex
	settled  []Txn
}

// Clients in front of the database and behind it read and write whole transactions while the network is
// cut, clients, the runtime and PostgreSQL are killed and paused.
func TestCausalConsistency(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(rand.Uint32())
	}
	t.Logf("seed %d", seed)
	b := newBench(t)
	stop, stopped := context.WithCancel(t.Context())
	var group sync.WaitGroup
	fleet := make([]device, devices)
	for i := range fleet {
		fleet[i] = b.newDevice(i)
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		b.networks[i].before = func() { fleet[i].act(random) }
		group.Go(func() { b.work(stop, fleet[i], b.networks[i], random) })
	}
	for i := range sessions {
		group.Go(func() { b.session(stop, fmt.Sprintf("session %d", i), rand.New(rand.NewPCG(seed, uint64(100+i)))) })
	}
	faults := b.disturb(time.Now().Add(*forFlag), rand.New(rand.NewPCG(seed, 1000)))
	stopped()
	group.Wait()
	last := b.rest(fleet)
	b.checker.Converged(last, b.settled)
	if err := b.checker.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("%d reads, %d transactions that write, %d acknowledged, faults %v", b.checker.Reads, b.checker.Writes, len(b.settled), faults)
	if len(b.settled) < 10 {
		t.Error("hardly anything happened")
	}
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, checker: NewChecker()}
	directory := t.TempDir()
	b.binary = filepath.Join(directory, "pgtide")
	if out, err := exec.Command("go", "build", "-o", b.binary, "github.com/pgtide/pgtide/cmd/pgtide").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	b.cluster = pgtest.Private(t, pgtest.ClusterConfig{Settings: map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}})
	db := pgtest.NewOn(t, b.cluster)
	b.url = db.URL
	if _, err := db.Exec(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	db.Reset()
	// No outgoing connection takes it while the runtime is down.
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	b.addr = fmt.Sprintf("127.0.0.1:%d", port)
	if b.log, err = os.Create(filepath.Join(directory, "serve.log")); err != nil {
		t.Fatal(err)
	}
	b.start()
	t.Cleanup(b.kill)
	return b
}

func (b *bench) start() {
	b.runtime = exec.Command(b.binary, "serve", "--addr", b.addr)
	b.runtime.Env = append(pgtest.Environ(), "DATABASE_URL="+b.url, "PGTIDE_JWT_SECRET="+secret)
	b.runtime.Stderr = b.log
	if err := b.runtime.Start(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) kill() {
	_ = b.runtime.Process.Kill() // it may have ended
	_ = b.runtime.Wait()         // it was killed
}

// network is the way of one client to the server.
type network struct {
	before func()
	cut    atomic.Bool
	random *rand.Rand
	mu     sync.Mutex
	end    context.CancelFunc // of the exchange that is under way
}

var errCut = errors.New("the network is cut")

// RoundTrip implements http.RoundTripper. The user acts between any two requests of his device.
func (n *network) RoundTrip(request *http.Request) (*http.Response, error) {
	if n.before != nil {
		n.before()
	}
	if !n.cut.Load() {
		return http.DefaultTransport.RoundTrip(request)
	}
	n.mu.Lock()
	reached := n.random.IntN(2) == 0
	n.mu.Unlock()
	if !reached {
		return nil, errCut
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err == nil {
		_ = response.Body.Close() // it gets lost
	}
	return nil, errCut
}

func (n *network) exchange(ctx context.Context) context.Context {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, n.end = context.WithTimeout(ctx, 10*time.Second)
	return ctx
}

func (n *network) endExchange() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.end != nil {
		n.end()
	}
}

func (b *bench) newDevice(i int) device {
	b.t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(24 * time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		b.t.Fatal(err)
	}
	name := fmt.Sprintf("device %d", i)
	n := &network{random: rand.New(rand.NewPCG(7, uint64(i)))}
	b.networks = append(b.networks, n)
	if i < files {
		f := &file{checker: b.checker, values: &b.values, called: name}
		path, config := filepath.Join(b.t.TempDir(), "device.db"), client.Config{
			URL: "http://" + b.addr, User: "ann", Header: http.Header{"Authorization": {"Bearer " + token}}, HTTPClient: &http.Client{Transport: n},
			MaxBundlesPerPage: 1 + 3*i, MaxRowsPerRequest: 2 + 100*i, Resolvers: map[string]client.Resolver{"register": larger}}
		// It asks the server for its tables, which may have to come up first.
		for deadline := time.Now().Add(time.Minute); f.client == nil; time.Sleep(50 * time.Millisecond) {
			if f.client, err = client.Open(b.t.Context(), path, config); err != nil && time.Now().After(deadline) {
				b.t.Fatal(err)
			}
		}
		b.t.Cleanup(func() {
			if err := f.client.Close(); err != nil {
				b.t.Error(err)
			}
		})
		return f
	}
	c := newClient(name, "http://"+b.addr, n, http.Header{"Authorization": {"Bearer " + token}, "Oversync-Source-Id": {name}}, b.checker, &b.values)
	c.device.MaxBundles = 1 + 3*i
	return c
}

// work lets a client exchange again and again.
func (b *bench) work(ctx context.Context, c device, n *network, random *rand.Rand) {
	for ctx.Err() == nil {
		c.act(random)
		if err := c.sync(n.exchange(ctx)); err != nil {
			b.excuse(c, err)
		}
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
	}
	n.endExchange()
}

// excuse lets pass what a network does, and nothing else.
func (b *bench) excuse(c device, err error) {
	var broken cursorclient.Violation
	var refusal *cursorclient.Refusal
	var told *client.ServerError
	if errors.Is(err, errWrong) || errors.As(err, &told) && !told.Retryable || errors.As(err, &broken) || errors.As(err, &refusal) && refusal.Status != http.StatusServiceUnavailable && refusal.Status != http.StatusTooManyRequests {
		b.t.Errorf("%s: %v", c.name(), err)
	}
}

// session is a client of the database itself.
func (b *bench) session(ctx context.Context, name string, random *rand.Rand) {
	for ctx.Err() == nil {
		conn, err := pgx.Connect(ctx, b.url+"&application_name=session")
		for err == nil && ctx.Err() == nil {
			err = b.transact(ctx, conn, name, random)
			var refused *pgconn.PgError
			if errors.As(err, &refused) && refused.Code[:2] == "40" {
				err = nil // somebody else was first
			}
			time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
		}
		if conn != nil {
			_ = conn.Close(context.Background()) // its server may be gone
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (b *bench) transact(ctx context.Context, conn *pgx.Conn, name string, random *rand.Rand) error {
	txn := Txn{Client: name}
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		var err error
		if txn.Read, err = readAll(ctx, tx); err != nil || random.IntN(2) == 0 {
			return err
		}
		txn.Value, txn.Writes = b.values.Add(1), random.Perm(Keys)[:1+random.IntN(4)]
		b.checker.Wrote(txn)
		for _, k := range txn.Writes {
			if _, err := tx.Exec(ctx, `UPDATE app.register SET v = $1 WHERE k = $2`, txn.Value, k); err != nil {
				return err
			}
			if random.IntN(8) == 0 {
				time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			}
		}
		return nil
	})
	if err != nil {
		return err // whether it happened is not known
	}
	b.checker.Read(name, txn.Read)
	if txn.Writes != nil {
		b.checker.Acknowledged(txn)
		b.told.Lock()
		b.settled = append(b.settled, txn)
		b.told.Unlock()
	}
	return nil
}

func readAll(ctx context.Context, db interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
}) (s State, err error) {
	rows, err := db.Query(ctx, `SELECT k, v FROM app.register`)
	if err != nil {
		return s, err
	}
	var k int
	var v int64
	_, err = pgx.ForEachRow(rows, []any{&k, &v}, func() error { s[k] = v; return nil })
	return s, err
}

// disturb lets one thing after the other go wrong.
func (b *bench) disturb(until time.Time, random *rand.Rand) map[string]int {
	count := map[string]int{}
	some := func(most int) time.Duration { return time.Duration(random.IntN(most)) * time.Millisecond }
	// Each kind comes, in any order.
	order := random.Perm(5)
	for n := 0; time.Now().Before(until) || n < len(order); n++ {
		time.Sleep(200*time.Millisecond + some(600))
		switch order[n%len(order)] {
		case 0:
			count["clients cut off"]++
			cut := random.Perm(devices)[:1+random.IntN(devices)]
			for _, i := range cut {
				b.networks[i].cut.Store(true)
			}
			time.Sleep(some(1000))
			for _, i := range cut {
				b.networks[i].cut.Store(false)
			}
		case 1:
			count["clients killed"]++
			for range 5 {
				b.networks[random.IntN(devices)].endExchange()
				time.Sleep(some(50))
			}
		case 2:
			count["runtime paused"]++
			b.signal(syscall.SIGSTOP)
			time.Sleep(some(800))
			b.signal(syscall.SIGCONT)
		case 3:
			count["runtime killed"]++
			b.kill()
			time.Sleep(some(300))
			b.start()
		case 4:
			count["PostgreSQL killed"]++
			if err := b.cluster.Kill(); err != nil {
				b.t.Fatal(err)
			}
			if err := b.cluster.Start(b.t.Context()); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	return count
}

func (b *bench) signal(signal syscall.Signal) {
	if err := b.runtime.Process.Signal(signal); err != nil {
		b.t.Fatal(err)
	}
}

// rest lets everything come to rest, and returns what each client reads then, and the database.
func (b *bench) rest(fleet []device) map[string]State {
	b.t.Helper()
	ctx := b.t.Context()
	for _, n := range b.networks {
		n.before = nil
	}
	conn, err := pgx.Connect(ctx, b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // nothing is left to do with it
	// What a session was about may yet be committed, and is sealed before anybody reads for the last time.
	for deadline, left := time.Now().Add(time.Minute), 1; left > 0; time.Sleep(10 * time.Millisecond) {
		if err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'session'`).Scan(&left); err != nil || time.Now().After(deadline) {
			b.t.Fatalf("%d sessions are left (%v)", left, err)
		}
	}
	if _, err := conn.Exec(ctx, `SELECT tide.seal()`); err != nil {
		b.t.Fatal(err)
	}
	for _, pull := range []bool{false, true} {
		for _, c := range fleet {
			var err error
			for try := 0; try == 0 || err != nil || c.waits() > 0 && !pull; try++ {
				if try == 300 {
					b.t.Fatalf("%s does not come to rest, with %d transactions or rows of its own: %v", c.name(), c.waits(), err)
				}
				if err = c.sync(ctx); err != nil {
					b.excuse(c, err)
					time.Sleep(100 * time.Millisecond)
				}
			}
		}
	}
	last := map[string]State{}
	for _, c := range fleet {
		last[c.name()] = c.look()
		b.checker.Read(c.name(), last[c.name()])
		b.settled = append(b.settled, c.through()...)
	}
	if last["the database"], err = readAll(ctx, conn); err != nil {
		b.t.Fatal(err)
	}
	var sealed string
	if err := conn.QueryRow(ctx, `SELECT coalesce(string_agg(DISTINCT b.source_id, ','), '') FROM tide.bundles AS b WHERE b.source_id LIKE 'device%'`).Scan(&sealed); err != nil || !strings.Contains(sealed, ",") {
		b.t.Errorf("pushes of %q are in the log: %v", sealed, err)
	}
	return last
}
