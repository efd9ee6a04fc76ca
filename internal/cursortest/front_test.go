package cursortest

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// front serves a database to whoever the header X-User says, with no more rights than it has.
func front(t testing.TB, db *pgtest.DB) *httptest.Server {
	t.Helper()
	config := db.Config()
	config.MaxConns = 20
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET SESSION AUTHORIZATION tide_runtime`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	web := cursorserver.Front(pool)
	t.Cleanup(web.Close)
	return web
}

// device of a user whose home bucket has begun.
func device(db *pgtest.DB, user, source string) *cursorclient.Device {
	return cursorclient.New(&cursorserver.SQL{Pool: db.Pool, User: user, Source: source, ChunkRows: 7})
}
