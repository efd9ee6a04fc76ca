package cursortest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
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
	handler := server.New(pool, server.Config{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: r.Header.Get("X-User")})))
	}))
	t.Cleanup(web.Close)
	return web
}

func overHTTP(web *httptest.Server, user, source string, chunk int, lines bool) *cursorclient.HTTP {
	return &cursorclient.HTTP{URL: web.URL, Client: web.Client(), ChunkRows: chunk, Lines: lines,
		Header: http.Header{"X-User": {user}, "Oversync-Source-Id": {source}}}
}
