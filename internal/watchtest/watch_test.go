package watchtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

const (
	users    = 500
	patience = 2 * time.Minute
	// bundles are written at this rate.
	bundles = 1000
	every   = time.Second / 200
	// bytesPerStream is far more than an idle stream takes of this process.
	bytesPerStream = 64 << 10
)

// streams are ten of each user, or as many as may be open here.
func streams(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return min(10*users, int(limit.Cur)-1000)
}

// Ten devices of each user watch while others write: each hears of the last bundle of his bucket, none of
// another's, an idle one costs little, and nothing is left of those who went away.
func TestThousandsWatch(t *testing.T) {
	db := pgtest.New(t)
	for _, statement := range []string{
		`CREATE SCHEMA app`,
		`CREATE TABLE app.item (owner int PRIMARY KEY, n int)`,
		fmt.Sprintf(`INSERT INTO app.item SELECT g, 0 FROM generate_series(0, %d) AS g`, users-1),
		`SELECT tide.register_table('app.item', owner_column => 'owner')`,
		`SELECT tide.seal()`,
	} {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	front := server.New(db.Pool, server.Config{HeartbeatInterval: time.Hour, QueueTimeout: time.Minute})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- front.Run(ctx) }()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		front.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: r.Header.Get("X-User")})))
	}))
	defer web.Close()
	goroutines, before := runtime.NumGoroutine(), memory()
	n := streams(t)
	load := startLoad(t, web.Listener.Addr().String(), n)
	each := (memory() - before) / int64(n)
	t.Logf("%d streams of %d users take %d bytes each while they are idle", n, users, each)
	if each > bytesPerStream {
		t.Errorf("an idle stream takes %d bytes", each)
	}

	written := writeBundles(t, db)
	var all heard
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if all = load.report(t); maps.Equal(all.Last, written) || len(all.Wrong) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all have heard: %v of %v", all.Last, written)
		}
	}
	if len(all.Wrong) > 0 {
		t.Errorf("%v", all.Wrong)
	}
	t.Logf("%d bundles were told with %d events", bundles, all.Events)
	load.end(t)
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines+10; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left of %d", runtime.NumGoroutine(), goroutines)
		}
	}
	if left := memory() - before; left > int64(n)*bytesPerStream/8 {
		t.Errorf("%d bytes are left", left)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// writeBundles by psql, for four of five users, and return where every bucket stands.
func writeBundles(t *testing.T, db *pgtest.DB) map[string]int64 {
	t.Helper()
	psql := pgtest.Psql(t, "-q", "-v", "ON_ERROR_STOP=1", db.URL)
	var said bytes.Buffer
	psql.Stderr = &said
	in, err := psql.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := psql.Start(); err != nil {
		t.Fatal(err)
	}
	written := map[string]int64{}
	for user := range users {
		written[strconv.Itoa(user)] = 1
	}
	random := rand.New(rand.NewPCG(6, 1))
	clock := time.NewTicker(every)
	defer clock.Stop()
	for i := range bundles {
		<-clock.C
		user := random.IntN(users * 4 / 5)
		if _, err := fmt.Fprintf(in, "BEGIN; SELECT tide.set_origin('for %d', %d) \\g /dev/null\nUPDATE app.item SET n = n + 1 WHERE owner = %[1]d; COMMIT;\n", user, i+1); err != nil {
			t.Fatalf("psql: %v: %s", err, &said)
		}
		written[strconv.Itoa(user)]++
	}
	if err := errors.Join(in.Close(), psql.Wait()); err != nil {
		t.Fatalf("psql: %v: %s", err, &said)
	}
	return written
}

// memory that this process holds, without garbage.
func memory() int64 {
	// What pools keep goes with the second collection.
	runtime.GC()
	debug.FreeOSMemory()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return int64(now.HeapInuse + now.StackInuse)
}
