package killtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Two processes keep the log sealed; one of them is killed, again and again, and the other goes on.
func TestSealingGoesOnWhenOneIsKilled(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	if _, err := db.Exec(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	fronts := startTwo(t, db.URL)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() {
		for ctx.Err() == nil {
			if _, err := db.Exec(t.Context(), `UPDATE app.counter SET n = n + 1 WHERE id = 'psql'`); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	sealedAfter := func() time.Duration {
		began := time.Now()
		var xid string
		if err := db.QueryRow(t.Context(), `UPDATE app.counter SET n = n + 1 WHERE id = 'psql' RETURNING pg_current_xact_id()::text`).Scan(&xid); err != nil {
			t.Fatal(err)
		}
		for sealed := false; !sealed; time.Sleep(time.Millisecond) {
			if err := db.QueryRow(t.Context(), `SELECT tide.position_of($1::text::xid8) IS NOT NULL`, xid).Scan(&sealed); err != nil {
				t.Fatal(err)
			}
			if time.Since(began) > time.Minute {
				t.Fatal("nobody seals")
			}
		}
		return time.Since(began)
	}
	t.Logf("both: sealed after %v", sealedAfter())
	for round := range 6 {
		killed := fronts[round%2]
		killed.kill(t)
		t.Logf("one killed: sealed after %v", sealedAfter())
		killed.start(t)
		// The next kill is of the other: by then this one must have taken over.
		t.Logf("both again: sealed after %v", sealedAfter())
		time.Sleep(500 * time.Millisecond)
	}
}
