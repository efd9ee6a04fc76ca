package logtest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// One transaction of a million rows is sealed, listed, and read page by page, and neither needs
// memory in proportion.
func TestABundleOfAMillionRows(t *testing.T) {
	t.Parallel()
	const rowCount, pageSize = 1_000_000, 5000
	cluster := pgtest.Private(t, pgtest.ClusterConfig{Settings: map[string]string{"shared_buffers": "32MB"}})
	db := pgtest.NewOn(t, cluster)
	exec(t, db, taskSetup)
	seal(t, db)
	exec(t, db, fmt.Sprintf(`INSERT INTO app.task SELECT g, 1, 'title ' || g FROM generate_series(100, %d) AS g`, rowCount+99))

	sealer := connect(t, db.URL)
	must(t, sealer, `SELECT tide.seal()`)
	if peak := peakMemory(t, sealer); peak > 700<<20 {
		t.Errorf("sealing took %d MB", peak>>20)
	}
	seq := value[int64](t, db, `SELECT head_seq FROM tide.buckets WHERE bucket_id = 'user:1'`)
	if got := value[int](t, db, `SELECT change_count FROM tide.bundles WHERE bucket_id = 'user:1' AND bundle_seq = $1`, seq); got != rowCount {
		t.Fatalf("the bundle lists %d changes", got)
	}
	// Where it stands, and what happened to one of its rows, is found without looking through it.
	xid := value[string](t, db, `SELECT xid::text FROM tide.bundle_log WHERE bucket_id = 'user:1' AND bundle_seq = $1`, seq)
	for _, sql := range []string{`SELECT tide.position_of('` + xid + `')`, `SELECT * FROM tide.row_history('app.task', '{"id": 5000}')`} {
		if got := blocks(t, db, sql); got > 1000 {
			t.Errorf("%s looks at %d blocks", sql, got)
		}
	}

	reader := connect(t, db.URL)
	after, id := int64(-1), 100
	for after < rowCount-1 {
		result, err := reader.Query(t.Context(), `SELECT row_ordinal, key ->> 'id' FROM tide.bundle_rows('user:1', $1, $2, $3)`, seq, after, pageSize)
		if err != nil {
			t.Fatal(err)
		}
		var ordinal int64
		var key string
		page := 0
		if _, err := pgx.ForEachRow(result, []any{&ordinal, &key}, func() error {
			if ordinal != after+1 || key != strconv.Itoa(id) {
				return fmt.Errorf("row %d with key %s, want %d with %d", ordinal, key, after+1, id)
			}
			after, id, page = ordinal, id+1, page+1
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if page == 0 {
			t.Fatalf("the page after row %d is empty", after)
		}
	}
	if peak := peakMemory(t, reader); peak > 250<<20 {
		t.Errorf("reading pages took %d MB", peak>>20)
	}
	if got := value[int](t, db, `SELECT count(*) FROM tide.bundle_rows('user:1', $1, $2)`, seq, rowCount-1); got != 0 {
		t.Errorf("%d rows after the last", got)
	}
}

// blocks is how many blocks a query looks at, in memory or on disk, once its plans are made.
func blocks(t *testing.T, db *pgtest.DB, sql string) int {
	t.Helper()
	conn := connect(t, db.URL)
	must(t, conn, sql)
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err := conn.QueryRow(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT json) `+sql).Scan(&plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read
}

// peakMemory is the most memory that the server process of a connection ever had, shared buffers included.
func peakMemory(t *testing.T, conn *pgx.Conn) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", conn.PgConn().PID()))
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if match == nil {
		t.Fatalf("no peak in %s", text)
	}
	kilobytes, err := strconv.ParseInt(string(match[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("peak memory of the server process: %d MB", kilobytes>>10)
	return kilobytes << 10
}
