package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/v1client"
)

// duties of the DBA.
var duties = []func(w *World) error{
	(*World).seal,
	(*World).seal,
	func(w *World) error { return w.dba(`SELECT tide.pause()`) },
	func(w *World) error { return w.dba(soon, `SELECT tide.resume()`) },
	func(w *World) error { return w.dba(soon, `SELECT tide.resume()`) },
	func(w *World) error {
		// It looks after partitions, which takes its time and is the same every time.
		if w.maintained {
			return nil
		}
		w.maintained = true
		return w.dba(`SELECT tide.maintain()`)
	},
	func(w *World) error { return w.dba(soon, `SELECT tide.refresh('app.doc')`) },
	func(w *World) error { return w.dba(soon, `SELECT tide.refresh('app.note', missed_changes => true)`) },
	func(w *World) error { return w.dba(`SELECT tide.clean_sessions()`) },
	func(w *World) error { return w.dba(`SELECT * FROM tide.check()`) },
	func(w *World) error { return w.dba(`SELECT * FROM tide.status`) },
	// Seals in several steps.
	func(w *World) error { return w.dba(`UPDATE tide.setting SET seal_max_changes = 3`) },
	func(w *World) error { return w.dba(`UPDATE tide.setting SET seal_max_changes = 1000000`) },
	// Tables that are read again are too large to be listed.
	func(w *World) error { return w.dba(`UPDATE tide.setting SET adoption_max_rows = 1`) },
	func(w *World) error { return w.dba(`UPDATE tide.setting SET adoption_max_rows = 10000`) },
	(*World).addColumn,
	(*World).registerLater,
	(*World).missed,
	func(w *World) error { return w.dba(`VACUUM app.doc, tide.push_session, tide.snapshot_session`) },
}

// refusedDuty are errors that a DBA is told and tries again later: a lock, or the state of things.
var refusedDuty = []string{"55P03", "40P01", "40001", "57014", "TD007", "TD008"}

// soon goes before what would try for long to get its locks: the schedule has one thread, and whoever
// holds them does nothing meanwhile.
const soon = `SET LOCAL statement_timeout = '250ms'`

// locked says whether somebody may hold locks.
func (w *World) locked() bool {
	return len(w.prepared) > 0 || slices.ContainsFunc(w.sessions, func(s *session) bool { return s.open })
}

func (w *World) dba(statements ...string) error {
	err := w.inTransaction(statements...)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && slices.Contains(refusedDuty, pgErr.Code) {
		return errRefused
	}
	if err != nil {
		return failed("duties", "%v\n%s", err, statements)
	}
	return nil
}

// errRefused is a duty that could not be done now. The history goes on.
var errRefused = errors.New("refused for now")

// surely does a duty when nobody holds a lock for long: requests that their devices gave up may not have ended yet.
func (w *World) surely(duty func() error) error {
	for range 1000 { // each waits for a lock as long as sessions do
		if err := duty(); !errors.Is(err, errRefused) {
			return err
		}
	}
	return failed("duties", "refused over and over, when all are at rest")
}

func (w *World) inTransaction(statements ...string) error {
	if len(statements) == 1 {
		_, err := w.admin.Exec(w.ctx, statements[0])
		return err
	}
	tx, err := w.admin.Begin(w.ctx)
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if statement == soon && !w.locked() {
			continue
		}
		if _, err := tx.Exec(w.ctx, statement); err != nil {
			return errors.Join(err, tx.Rollback(w.ctx))
		}
	}
	return tx.Commit(w.ctx)
}

func (w *World) seal() error { return w.dba(`SELECT tide.seal()`) }

// addColumn gives a table one more column, which devices installed from now on know.
func (w *World) addColumn() error {
	if w.columns == 2 {
		return nil
	}
	name := fmt.Sprintf("added_%d", w.columns+1)
	if err := w.dba(soon, `ALTER TABLE app.doc ADD COLUMN `+name+` integer DEFAULT 7`, `SELECT tide.refresh('app.doc')`); err != nil {
		return err
	}
	w.columns++
	w.tables = slices.Clone(w.tables)
	w.tables[0].Columns = append(slices.Clone(w.tables[0].Columns), name)
	return w.newVersion()
}

// newVersion: an app that connects for the first time is the one of now. Installed ones keep what they knew when
// they did, as long as the server knows them: to one that was restored to before that they come for the first time.
func (w *World) newVersion() error {
	for _, p := range w.phones {
		if !p.device.Attached() {
			if err := p.install(); err != nil {
				return err
			}
		}
	}
	for _, r := range w.readers {
		if r.device.Cursor == "" {
			r.install()
			continue
		}
		var known bool
		if err := w.admin.QueryRow(w.ctx, `SELECT EXISTS (SELECT FROM tide.source WHERE user_id = $1 AND source_id = $2)`, r.user, r.source()).Scan(&known); err != nil {
			return err
		}
		if !known {
			r.tables = slices.Clone(w.tables)
		}
	}
	return nil
}

func (w *World) registerLater() error {
	if len(w.tables) > 3 {
		return nil
	}
	if err := w.dba(soon, `SELECT tide.register_table('app.later', owner_column => 'owner_id')`); err != nil {
		return err
	}
	w.tables = append(slices.Clone(w.tables), v1client.Table{Name: "later", Key: []string{"id"}, Columns: []string{"id", "owner_id", "body"}})
	return w.newVersion()
}

// missed are writes that no trigger sees, and what a DBA does about it.
func (w *World) missed() error {
	token := quote(w.nextToken("s"))
	return w.dba(soon, `ALTER TABLE app.doc DISABLE TRIGGER USER`, `ALTER TABLE app.note DISABLE TRIGGER USER`,
		`UPDATE app.doc SET n = n + 100, token = `+token+` WHERE id IN ('d1', 'd2')`, `DELETE FROM app.note WHERE id = '`+noteKey(3)+`'`,
		`ALTER TABLE app.doc ENABLE TRIGGER USER`, `ALTER TABLE app.note ENABLE TRIGGER USER`,
		`SELECT tide.refresh('app.doc', missed_changes => true)`, `SELECT tide.refresh('app.note', missed_changes => true)`)
}
