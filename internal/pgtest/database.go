package pgtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/cluster"
	"github.com/pgtide/pgtide/internal/install"
	"github.com/pgtide/pgtide/migrations"
)

// DB is a database of its own for one test.
type DB struct {
	*pgxpool.Pool
	// URL connects the superuser.
	URL string
}

// installLock is held while roles are made: they belong to the whole cluster.
const installLock = 8101720

var shared = sync.OnceValues(func() (*Server, error) { return Start(context.Background()) })

var announce sync.Once

// New returns a database with pgtide installed, dropped when the test ends. Its connections have an
// empty search_path, so that a name without its schema fails.
func New(t testing.TB) *DB {
	t.Helper()
	return create(t, sharedURL(t), template(t, sharedURL(t)))
}

// Empty returns a database without pgtide.
func Empty(t testing.TB) *DB {
	t.Helper()
	return create(t, sharedURL(t), "template0")
}

// NewOn is New on a cluster of the test's own.
func NewOn(t testing.TB, c *Cluster) *DB {
	t.Helper()
	server := c.URL("postgres")
	return create(t, server, template(t, server))
}

// Private starts a cluster for this test alone, which it may kill.
func Private(t testing.TB, config ClusterConfig) *Cluster {
	t.Helper()
	own, err := cluster.New(context.Background(), config)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(own.Remove)
	return own
}

// WithInstallLock runs f while no other test installs pgtide anywhere on the server. f may call New
// and Empty.
func WithInstallLock(t testing.TB, f func()) {
	t.Helper()
	// New within f would wait for the lock to make it.
	template(t, sharedURL(t))
	withLock(t, sharedURL(t), func(*pgx.Conn) { f() })
}

// As returns the URL of the database for another role, whose password, if the server asks, is pgtide.
func (d *DB) As(role string) string {
	u, err := url.Parse(d.URL)
	if err != nil {
		panic(err) // it was made by create
	}
	u.User = url.UserPassword(role, "pgtide")
	return u.String()
}

// Connect opens one more connection, closed when the test ends.
func (d *DB) Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatalf("pgtest: connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // it may be closed already
	return conn
}

func sharedURL(t testing.TB) string {
	t.Helper()
	server, err := shared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	announce.Do(func() { t.Logf("pgtest: using %s", server.Description) })
	return server.URL
}

func withLock(t testing.TB, server string, f func(*pgx.Conn)) {
	t.Helper()
	withConn(t, server, func(conn *pgx.Conn) {
		if _, err := conn.Exec(context.Background(), "SELECT pg_advisory_lock($1)", installLock); err != nil {
			t.Fatalf("pgtest: lock: %v", err)
		}
		f(conn)
	})
}

func withConn(t testing.TB, server string, f func(*pgx.Conn)) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("pgtest: connect: %v", err)
	}
	defer conn.Close(ctx)
	f(conn)
}

// template returns the name of a database with pgtide, made once per server and set of migrations.
func template(t testing.TB, server string) string {
	t.Helper()
	name := templateName(t)
	var exists bool
	// Without the lock first: who holds it may ask for a database.
	withConn(t, server, func(conn *pgx.Conn) { exists = hasDatabase(t, conn, name) })
	if exists {
		return name
	}
	withLock(t, server, func(conn *pgx.Conn) {
		ctx := context.Background()
		if hasDatabase(t, conn, name) {
			return
		}
		half := name + "_half"
		for _, statement := range []string{"DROP DATABASE IF EXISTS " + half + " WITH (FORCE)", "CREATE DATABASE " + half + " TEMPLATE template0"} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				t.Fatalf("pgtest: %s: %v", statement, err)
			}
		}
		if _, err := install.Up(ctx, WithDatabase(server, half)); err != nil {
			t.Fatalf("pgtest: install pgtide: %v", err)
		}
		// Only a template that is finished gets the name others look for.
		if _, err := conn.Exec(ctx, "ALTER DATABASE "+half+" RENAME TO "+name); err != nil {
			t.Fatalf("pgtest: finish the template: %v", err)
		}
	})
	return name
}

func hasDatabase(t testing.TB, conn *pgx.Conn, name string) bool {
	t.Helper()
	var exists bool
	if err := conn.QueryRow(context.Background(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		t.Fatalf("pgtest: look for database %s: %v", name, err)
	}
	return exists
}

func templateName(t testing.TB) string {
	t.Helper()
	hash := sha256.New()
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	for _, name := range names {
		text, err := migrations.FS.ReadFile(name)
		if err != nil {
			t.Fatalf("pgtest: %v", err)
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(text), text)
	}
	return fmt.Sprintf("tide_template_%x", hash.Sum(nil)[:8])
}

var databases atomic.Int64

func create(t testing.TB, server, from string) *DB {
	t.Helper()
	db, drop, err := Create(context.Background(), server, from)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := drop(context.Background()); err != nil {
			t.Logf("pgtest: %v", err)
		}
	})
	return db
}

// Create makes a database of a template that nobody is connected to, and says how to drop it: for whoever
// needs many in one test. Others use New.
func Create(ctx context.Context, server, from string) (db *DB, drop func(context.Context) error, err error) {
	name := fmt.Sprintf("tide_test_%d_%d", time.Now().UnixNano(), databases.Add(1))
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	defer admin.Close(ctx) //nolint:errcheck // Nothing is left to do with it.
	for try := 0; ; try++ {
		_, err = admin.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+from)
		var pgErr *pgconn.PgError
		// Somebody else, autovacuum perhaps, looks at the template.
		if err == nil || !errors.As(err, &pgErr) || pgErr.Code != "55006" || try == 50 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("create database: %w", err)
	}
	db = &DB{URL: WithDatabase(server, name)}
	config, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		return nil, nil, err
	}
	config.MaxConns = 40
	config.ConnConfig.RuntimeParams["search_path"] = ""
	config.ConnConfig.RuntimeParams["application_name"] = name
	if db.Pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, nil, err
	}
	return db, func(ctx context.Context) error {
		db.Close()
		admin, err := pgx.Connect(ctx, server)
		if err != nil {
			return nil //nolint:nilerr // The test ended its server.
		}
		defer admin.Close(ctx) //nolint:errcheck // Nothing is left to do with it.
		if _, err := admin.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			return fmt.Errorf("drop database: %w", err)
		}
		return nil
	}, nil
}

// WithDatabase returns the URL of another database on the same server.
func WithDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic(fmt.Sprintf("pgtest: %s must be a URL: %v", EnvURL, err))
	}
	u.Path = "/" + name
	return u.String()
}
