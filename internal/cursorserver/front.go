package cursorserver

import (
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

// Front serves a database to whoever the header X-User says, until it is closed.
func Front(pool *pgxpool.Pool) *httptest.Server {
	handler := server.New(pool, server.Config{QueueTimeout: time.Minute}) // as long as a busy machine may let one wait
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: r.Header.Get("X-User")})))
	}))
}

// OverHTTP is that server as a device of a user reaches it.
func OverHTTP(web *httptest.Server, user, source string, chunk int, lines bool) *cursorclient.HTTP {
	return &cursorclient.HTTP{URL: web.URL, Client: web.Client(), ChunkRows: chunk, Lines: lines,
		Header: http.Header{"X-User": {user}, "Oversync-Source-Id": {source}}}
}
