package server

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The pool is the host's: however it sends statements, and with as few as two connections.
func TestEveryWayOfSendingStatements(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			config, err := pgxpool.ParseConfig(f.db.URL)
			if err != nil {
				t.Fatal(err)
			}
			config.ConnConfig.DefaultQueryExecMode = mode
			config.MaxConns = 2
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			web := httptest.NewServer(asHeaderSays(New(pool, Config{})))
			defer web.Close()
			f := &front{t: t, db: f.db, url: web.URL, client: web.Client()}
			d := f.device(mode.String(), "phone").connect(t)
			id := int(mode)
			d.push(t, 1, note("INSERT", id, 0, `"body":"`+mode.String()+`"`))
			session := d.session(t, 2, 1)
			d.post(t, session+"/chunks", chunkOf(0, note("UPDATE", id, 1, `"body":null`))).is(t, http.StatusOK, "")
			d.post(t, session+"/commit", "").is(t, http.StatusOK, "")
			d.post(t, "/sync/push", pushOf(3, note("UPDATE", id, 1, `"body":null`))).is(t, http.StatusConflict, "push_conflict")
			d.post(t, "/sync/push", pushOf(3, note("UPDATE", id, 2, `"task_id":"`+taskA+`"`))).is(t, http.StatusUnprocessableEntity, "push_rejected")
			d.get(t, "/sync/pull").is(t, http.StatusOK, "")
			d.get(t, "/sync/committed-bundles/1/rows").is(t, http.StatusOK, "")
			snapshot := d.post(t, "/sync/snapshot-sessions", "").is(t, http.StatusOK, "").field(t, "snapshot_id")
			d.get(t, "/sync/snapshot-sessions/"+snapshot).is(t, http.StatusOK, "")
			if got := d.get(t, "/sync/snapshot"); got.status != http.StatusOK {
				t.Errorf("stream: %d %s", got.status, got.body)
			}
			d.get(t, "/sync/capabilities").is(t, http.StatusOK, "")
			d.get(t, "/syncx/health").is(t, http.StatusOK, "")
		})
	}
}
