package model

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

// bench is where traces are replayed: a database, a session for each writer, and a device that reads.
type bench struct {
	t        *testing.T
	ctx      context.Context
	base     string // address of the server
	database string
	pool     *pgxpool.Pool
	front    *httptest.Server
	sessions []*pgx.Conn
	device   *cursorclient.Device
	copies   int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	db := pgtest.New(t)
	if _, err := db.Exec(t.Context(), `CREATE SCHEMA app; CREATE TABLE app.row (id integer PRIMARY KEY, tx text NOT NULL);
		INSERT INTO app.row SELECT g, 'seed' FROM generate_series(0, 2) AS g;
		SELECT tide.register_table('app.row', bucket => 'global')`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `SELECT tide.seal()`); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, ctx: t.Context(), base: db.URL, database: db.Config().ConnConfig.Database}
	db.Reset()
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	b.device = cursorclient.New(nil)
	return b
}

// open connects everybody to the database, close lets go of it.
func (b *bench) open() error {
	config, err := pgxpool.ParseConfig(pgtest.WithDatabase(b.base, b.database))
	if err != nil {
		return err
	}
	config.MaxConns = 4
	if b.pool, err = pgxpool.NewWithConfig(b.ctx, config); err != nil {
		return err
	}
	handler := server.New(b.pool, server.Config{NoWatch: true})
	b.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: "ann"})))
	}))
	b.sessions = nil
	for range 3 {
		session, err := pgx.ConnectConfig(b.ctx, config.ConnConfig.Copy())
		if err != nil {
			return err
		}
		b.sessions = append(b.sessions, session)
	}
	return nil
}

func (b *bench) close() {
	b.front.Close()
	for _, session := range b.sessions {
		_ = session.Close(context.Background()) // what it had open is lost, as it is meant to be
	}
	b.pool.Close()
}

// copy is the database as it is now, by another name.
func (b *bench) copy() (string, error) {
	b.close()
	b.copies++
	name := fmt.Sprintf("%s_%d", b.database, b.copies)
	admin, err := pgx.Connect(b.ctx, pgtest.WithDatabase(b.base, "postgres"))
	if err != nil {
		return "", err
	}
	defer admin.Close(context.Background()) //nolint:errcheck // nothing is left to do with it
	if _, err := admin.Exec(b.ctx, fmt.Sprintf(`CREATE DATABASE %s TEMPLATE %s`, name, b.database)); err != nil {
		return "", err
	}
	b.t.Cleanup(func() {
		admin, err := pgx.Connect(context.Background(), pgtest.WithDatabase(b.base, "postgres"))
		if err != nil {
			return
		}
		_, _ = admin.Exec(context.Background(), `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`) // the server is thrown away
		_ = admin.Close(context.Background())                                                    // so is this
	})
	return name, b.open()
}

// replay lets a trace happen, and a seal and a read after it, and holds everything against the model.
func (b *bench) replay(w World, run string, trace []Step) error {
	trace = append(slices.Clone(trace), "seal", "read")
	sealed, read, err := w.After(trace)
	if err != nil {
		return err
	}
	if err := b.read(0); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	var first int64
	if err := b.pool.QueryRow(b.ctx, `SELECT tide.head()`).Scan(&first); err != nil {
		return err
	}
	began := map[int]bool{}
	copied := ""
	for i, step := range trace {
		if err := b.step(w, step, run, began, &copied); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		if step == "seal" {
			got, err := b.sealed(first, run)
			if err != nil {
				return err
			}
			if !slices.Equal(got, sealed[i]) {
				return fmt.Errorf("step %d: the model seals %v, PostgreSQL %v", i, sealed[i], got)
			}
		}
		if step == "read" {
			if got, want := b.held(run), w.holds(read[i]); got != want {
				return fmt.Errorf("step %d: the model's reader has read %v and holds %q, the device holds %q", i, read[i], want, got)
			}
		}
	}
	return nil
}

func (b *bench) step(w World, step Step, run string, began map[int]bool, copied *string) (err error) {
	var tx, key int
	switch verb, _, _ := strings.Cut(string(step), " "); verb {
	case "seal":
		_, err = b.pool.Exec(b.ctx, `SELECT tide.seal()`)
	case "read":
		err = b.read(w.Page)
	case "prune":
		// What retention leaves behind.
		_, err = b.pool.Exec(b.ctx, `INSERT INTO tide.bucket_floor (bucket_id, floor_seq, floor_bundle_id, seal_id, reason)
			SELECT b.bucket_id, b.bundle_seq, b.bundle_id, b.seal_id, 'pruned' FROM tide.bundle_log AS b WHERE b.bucket_id = 'global' ORDER BY b.bundle_seq DESC LIMIT 1`)
	case "copy":
		*copied, err = b.copy()
	case "restore":
		b.close()
		b.database = *copied
		err = b.open()
	case "commit":
		if _, err = fmt.Sscanf(string(step), "commit %d", &tx); err == nil {
			_, err = b.sessions[tx].Exec(b.ctx, `COMMIT`)
		}
	default:
		if _, err = fmt.Sscanf(string(step), "write %d %d", &tx, &key); err != nil {
			return err
		}
		if !began[tx] {
			began[tx] = true
			if _, err = b.sessions[tx].Exec(b.ctx, `BEGIN`); err != nil {
				return err
			}
		}
		_, err = b.sessions[tx].Exec(b.ctx, `UPDATE app.row SET tx = $1 WHERE id = $2`, fmt.Sprintf("%s %d", run, tx), key)
	}
	return err
}

// read lets the device read a page of bundles, or a snapshot where it needs one; 0 is all there is.
func (b *bench) read(page int) error {
	b.device.Server = &cursorclient.HTTP{URL: b.front.URL, Client: b.front.Client(), Header: http.Header{"Oversync-Source-Id": {"reader"}}}
	b.device = b.device.Copy()
	b.device.MaxBundles = 1000
	if page == 0 {
		return b.device.Sync(b.ctx)
	}
	b.device.MaxBundles = page
	stood := maps.Clone(b.device.Stands)
	for more := true; more && maps.Equal(stood, b.device.Stands); {
		var err error
		if more, err = b.device.Step(b.ctx); err != nil {
			return err
		}
	}
	return nil
}

// sealed are the writers of a run in the order of their bundles.
func (b *bench) sealed(first int64, run string) (order []int, err error) {
	rows, err := b.pool.Query(b.ctx, `SELECT DISTINCT c.bundle_id, c.payload ->> 'tx' FROM tide.changes AS c WHERE c.bundle_id > $1 AND c.bucket_id = 'global' ORDER BY 1`, first)
	if err != nil {
		return nil, err
	}
	var id int64
	var tx string
	_, err = pgx.ForEachRow(rows, []any{&id, &tx}, func() error {
		if strings.HasPrefix(tx, run+" ") {
			order = append(order, int(tx[len(tx)-1]-'0'))
		}
		return nil
	})
	return order, err
}

// holds says who wrote the rows that a reader has which applied these transactions, in that order.
func (w World) holds(read []int) string {
	rows := [3]string{"-", "-", "-"}
	for _, tx := range read {
		for _, key := range w.Writers[tx] {
			rows[key] = fmt.Sprint(tx)
		}
	}
	return strings.Join(rows[:], " ")
}

// held is the same of the device.
func (b *bench) held(run string) string {
	rows := [3]string{"-", "-", "-"}
	for key := range rows {
		payload := b.device.Rows[fmt.Sprintf(`app.row{"id":"%d"}`, key)].Payload
		if at := strings.Index(payload, run+" "); at >= 0 {
			rows[key] = payload[at+len(run)+1 : at+len(run)+2]
		}
	}
	return strings.Join(rows[:], " ")
}
