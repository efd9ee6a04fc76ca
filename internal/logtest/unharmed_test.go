package logtest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// impatient makes it an error to wait for pgtide: far longer than its locks are held or waited for, also
// where the machine stands still for a while.
const impatient = `SET lock_timeout = '10s'`

// An ordinary role with no right on tide goes on working while its tables are registered, refreshed,
// paused, resumed and unregistered again and again: no error, and no lock that is not had soon.
func TestTheExistingApplicationIsUnharmed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role := fmt.Sprintf("app_%d", time.Now().UnixNano())
	exec(t, db, taskSetup, `SELECT tide.unregister_table('app.task')`, `CREATE ROLE `+role+` LOGIN PASSWORD 'pgtide'`,
		`GRANT USAGE ON SCHEMA app TO `+role, `GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON app.task TO `+role)
	t.Cleanup(func() {
		if _, err := db.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role); err != nil {
			t.Error(err)
		}
	})
	stop := make(chan struct{})
	var group sync.WaitGroup
	var writes atomic.Int64
	for w := range 6 {
		conn := db.Connect(t, db.As(role))
		must(t, conn, impatient)
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := applicationWork(t.Context(), conn, 1000*w+1, i); err != nil {
					t.Errorf("the application got: %v", err)
					return
				}
				writes.Add(1)
			}
		})
	}
	for range 4 {
		exec(t, db, `SELECT tide.register_table('app.task', owner_column => 'owner')`)
		seal(t, db)
		exec(t, db, `SELECT tide.refresh('app.task')`, `SELECT tide.pause()`, `SELECT tide.resume()`)
		seal(t, db)
		exec(t, db, `SELECT tide.register_table('app.task', bucket => 'global', on_capture_error => 'mark_dirty')`)
		seal(t, db)
		exec(t, db, `SELECT tide.maintain()`, `SELECT tide.unregister_table('app.task')`)
	}
	exec(t, db, `SELECT tide.register_table('app.task', owner_column => 'owner')`)
	close(stop)
	group.Wait()
	held := newFold(t, db)
	conn := db.Connect(t, db.As(role))
	for i := range 50 {
		if err := applicationWork(t.Context(), conn, 1, i); err != nil {
			t.Errorf("the application got: %v", err)
		}
	}
	held.check(t)
	t.Logf("%d transactions of the application", writes.Load())
	for _, statement := range []string{`SELECT * FROM tide.change_log`, `SELECT tide.seal()`, `SELECT * FROM tide.pull('user:1', 0)`, `SELECT tide.set_origin('x', 1)`} {
		if _, err := db.Connect(t, db.As(role)).Exec(t.Context(), statement); err == nil {
			t.Errorf("a role without any grant may: %s", statement)
		}
	}
}

func applicationWork(ctx context.Context, conn *pgx.Conn, base, i int) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO app.task (id, owner, title) VALUES (%d, %d, 'x') ON CONFLICT (id) DO UPDATE SET title = 'y'`, base+i%50, i%5),
		fmt.Sprintf(`UPDATE app.task SET title = title || '.', owner = %d WHERE id = %d`, i%4, base+(i+1)%50),
		fmt.Sprintf(`DELETE FROM app.task WHERE id = %d`, base+(i+25)%50),
		fmt.Sprintf(`SELECT count(*) FROM app.task WHERE owner = %d`, i%5),
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			_ = tx.Rollback(ctx) // the first error counts
			return err
		}
	}
	return tx.Commit(ctx)
}
