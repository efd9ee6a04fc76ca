package logtest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// pg_dump runs while writers and sealers work; the dump is loaded into clusters whose transaction
// ids are behind and ahead of those the log speaks of.
func TestADumpIsRestoredInAnotherCluster(t *testing.T) {
	t.Parallel()
	source := pgtest.Private(t, pgtest.ClusterConfig{})
	db := pgtest.NewOn(t, source)
	exec(t, db, itemSchema)
	drawTransactionIDs(t, db, 5000)
	seal(t, db)
	replicas := itemReplicas(t, db)

	dump := filepath.Join(t.TempDir(), "dump")
	var group sync.WaitGroup
	group.Go(func() {
		time.Sleep(time.Second)
		if _, err := runTool(t, source, "pg_dump", "-Fc", "-f", dump, db.URL); err != nil {
			t.Error(err)
		}
	})
	runWriters(t, db, 20, 3*time.Second, nil)
	group.Wait()
	if t.Failed() {
		return
	}
	// pg_dump leaves the roles to pg_dumpall; the one that exists everywhere is there already.
	roles, err := runTool(t, source, "pg_dumpall", "--roles-only", "-d", source.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	globals := filepath.Join(t.TempDir(), "roles")
	if err := os.WriteFile(globals, []byte(strings.Replace(roles, "CREATE ROLE postgres;\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}

	t.Run("whose transaction ids are behind", func(t *testing.T) {
		t.Parallel()
		restored := restore(t, globals, dump, 0)
		floor, head := positions(t, restored)
		_, err := restored.Exec(t.Context(), `SELECT tide.seal()`)
		refused(t, err, "TD016", "new history")
		// What was sealed stays readable, and what is written is captured, by ids that no seal would look at.
		if f, h := positions(t, restored); f != floor || h != head {
			t.Errorf("floor and head were %d and %d, and are %d and %d after a seal that was refused", floor, head, f, h)
		}
		for _, r := range replicas {
			if err := r.copy().pull(t.Context(), restored.Pool, 50); err != nil {
				t.Errorf("%s: %v", r.bucket, err)
			}
		}
		exec(t, restored, `UPDATE app.item SET version = version + 1 WHERE id = (SELECT min(id) FROM app.item)`)
		_, err = restored.Exec(t.Context(), `SELECT tide.seal()`)
		refused(t, err, "TD016", "new history")
	})
	t.Run("whose transaction ids are ahead", func(t *testing.T) {
		t.Parallel()
		restored := restore(t, globals, dump, 50_000)
		var own []*replica
		for _, r := range replicas {
			own = append(own, r.copy())
		}
		// The log goes on, beginning with what the dump held and no seal had seen.
		runWriters(t, restored, 20, 2*time.Second, own)
		finishItems(t, restored, own)
	})
}

// restore loads a dump into a cluster of its own that has drawn so many transaction ids before.
func restore(t *testing.T, globals, dump string, drawn int) *pgtest.DB {
	t.Helper()
	cluster := pgtest.Private(t, pgtest.ClusterConfig{})
	if _, err := runTool(t, cluster, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", globals, "-c", "CREATE DATABASE restored TEMPLATE template0", "-d", cluster.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	db := openDatabase(t, pgtest.WithDatabase(cluster.URL("postgres"), "restored"))
	drawTransactionIDs(t, db, drawn)
	if _, err := runTool(t, cluster, "pg_restore", "--exit-on-error", "--single-transaction", "-d", db.URL, dump); err != nil {
		t.Fatal(err)
	}
	return db
}

func positions(t *testing.T, db *pgtest.DB) (floor, head int64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT floor_seq, head_seq FROM tide.bucket_position('user:1')`).Scan(&floor, &head); err != nil {
		t.Fatal(err)
	}
	return floor, head
}

// drawTransactionIDs lets the server's transaction ids advance.
func drawTransactionIDs(t *testing.T, db *pgtest.DB, count int) {
	t.Helper()
	conn := connect(t, db.URL)
	must(t, conn, `SET synchronous_commit = off`)
	must(t, conn, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`, count))
}

// openDatabase is a database that a test did not get from pgtest, with the settings of those that it does.
func openDatabase(t *testing.T, url string) *pgtest.DB {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 40
	config.ConnConfig.RuntimeParams["search_path"] = ""
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &pgtest.DB{Pool: p, URL: url}
}

// copy is another device that holds the same.
func (r *replica) copy() *replica {
	other := *r
	other.rows = maps.Clone(r.rows)
	return &other
}

// runTool runs a client program that belongs to the cluster's binaries, and returns what it printed.
func runTool(t *testing.T, cluster *pgtest.Cluster, program string, args ...string) (string, error) {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), filepath.Join(cluster.BinDir, program), args...)
	var said, failed strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &failed
	err := cmd.Run()
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s is not beside the server in %s: install the client of the same version (Debian: apt-get install postgresql-client)", program, cluster.BinDir)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, failed.String())
	}
	return said.String(), nil
}
