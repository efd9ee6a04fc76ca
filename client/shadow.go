package client

import (
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Where a table is empty and nothing was written to it, the rows of its snapshot go into a shadow: a table
// like it, which takes its place once all are there. So they are written once, and not a second time in the
// transaction that makes them seen. What the server says of them beside lies in _tide_stage_row until then.
// Whatever does not fit there, a row or a circumstance, makes it be the stage of other snapshots.

func (t *table) shadowName() string { return fmt.Sprintf("_tide_stage_shadow_%d", t.id) }

const shadowRows = `CREATE TABLE IF NOT EXISTS _tide_stage_row (
    tab     INTEGER NOT NULL,
    key     TEXT NOT NULL,
    version INTEGER NOT NULL,
    buckets INTEGER NOT NULL,
    PRIMARY KEY (tab, key)
) WITHOUT ROWID`

// exists says whether there is a table of this name.
func (w *writer) exists(name string) (bool, error) {
	return w.get(`SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?`, []any{name}, new(int))
}

// met says that there is something already that rows of a snapshot could meet.
func (w *writer) met(t *table) (bool, error) {
	return w.get(`SELECT 1 WHERE EXISTS (SELECT 1 FROM `+t.name()+`) OR EXISTS (SELECT 1 FROM _tide_row WHERE tab = ?1) OR EXISTS (SELECT 1 FROM _tide_dirty WHERE tab = ?1)
		OR EXISTS (SELECT 1 FROM _tide_inbox WHERE tab = ?1)`, []any{t.id}, new(int))
}

// shadow makes one for the first rows of a table, if it can have one, and says whether it has.
func (w *writer) shadow(t *table) (bool, error) {
	if there, err := w.exists(t.shadowName()); there || err != nil {
		return there, err
	}
	staged, err := w.staged(t)
	if err != nil || staged {
		return false, err
	}
	if met, err := w.met(t); met || err != nil {
		return false, err
	}
	// A trigger of the application wants to see each row.
	if seen, err := w.get(`SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name NOT GLOB '_tide_*'`, []any{t.local}, new(int)); seen || err != nil {
		return false, err
	}
	var text string
	if _, err := w.get(`SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?`, []any{t.local}, &text); err != nil {
		return false, err
	}
	for _, name := range []string{t.name(), t.local, "[" + t.local + "]", "`" + t.local + "`"} {
		if body, ok := strings.CutPrefix(text, "CREATE TABLE "+name); ok && strings.HasPrefix(strings.TrimSpace(body), "(") {
			if err := w.exec(shadowRows); err != nil {
				return false, err
			}
			err := w.exec("CREATE TABLE " + t.shadowName() + body)
			var refused *sqlite.Error
			if errors.As(err, &refused) && refused.Code() == sqlite3.SQLITE_ERROR {
				return false, nil // a CHECK names its own table
			}
			return err == nil, err
		}
	}
	return false, nil
}

// fill writes rows to the shadow, and says whether they fit.
func (w *writer) fill(p part, version int64) (bool, error) {
	width := stagedBeside + len(p.table.spec.Columns)
	rows, beside := make([]any, 0, len(p.values)), make([]any, 0, len(p.values)/width*2)
	for at := 0; at < len(p.values); at += width {
		if p.values[at+2] != nil { // it lacks columns
			return false, nil
		}
		rows, beside = append(rows, p.values[at+stagedBeside:at+width]...), append(beside, p.values[at], p.values[at+1])
	}
	if err := w.exec(`SAVEPOINT fill`); err != nil {
		return false, err
	}
	err := w.insert(p.table.shadowName()+` (`+quoteNames(p.table.names())+`)`, "(?"+strings.Repeat(", ?", len(p.table.names())-1)+")", len(p.table.names()), rows)
	if err == nil {
		err = w.insert(`_tide_stage_row`, fmt.Sprintf("(%d, ?, %d, ?)", p.table.id, version), 2, beside)
	}
	fits := constraint(err) == 0
	if err != nil && !fits {
		err = w.exec(`ROLLBACK TO fill`)
	}
	if err != nil {
		return false, err
	}
	return fits, w.exec(`RELEASE fill`)
}

// unshadow makes a stage of the shadow.
func (w *writer) unshadow(t *table) error {
	if there, err := w.exists(t.shadowName()); !there || err != nil {
		return err
	}
	if err := w.makeStage(t); err != nil {
		return err
	}
	columns := make([]string, len(t.names()))
	for n, name := range t.names() {
		columns[n] = "o." + quoteName(name)
	}
	if err := w.exec(`INSERT INTO `+t.stageName()+` SELECT r.key, r.buckets, NULL, `+strings.Join(columns, ", ")+
		` FROM `+t.shadowName()+` AS o CROSS JOIN _tide_stage_row AS r ON r.tab = ? AND r.key = `+t.keyOf("o"), t.id); err != nil {
		return err
	}
	if err := w.exec(`DELETE FROM _tide_stage_row WHERE tab = ?`, t.id); err != nil {
		return err
	}
	return w.exec(`DROP TABLE ` + t.shadowName())
}

// swap puts the shadow in the place of its table, and says whether it did. Where an index finds that rows do
// not fit, it makes a stage of it.
func (w *writer) swap(t *table) (bool, error) {
	there, err := w.exists(t.shadowName())
	if err != nil || !there {
		return false, err
	}
	if err := w.exec(`SAVEPOINT swap`); err != nil {
		return false, err
	}
	err = w.swapIn(t)
	if constraint(err) != 0 {
		if err := w.exec(`ROLLBACK TO swap`); err != nil {
			return false, err
		}
		if err := w.exec(`RELEASE swap`); err != nil {
			return false, err
		}
		return false, w.unshadow(t)
	}
	if err != nil {
		return false, err
	}
	return true, w.exec(`RELEASE swap`)
}

func (w *writer) swapIn(t *table) error {
	indexes, err := all(w, func(scan func(...any) error) (text string, err error) { return text, scan(&text) },
		`SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL`, t.local)
	if err != nil {
		return err
	}
	w.changed[t.id] = true
	for _, statement := range append([]string{`DROP TABLE ` + t.name(), `ALTER TABLE ` + t.shadowName() + ` RENAME TO ` + t.name()}, indexes...) {
		if err := w.exec(statement); err != nil {
			return err
		}
	}
	return w.capture(t)
}

// swapRows takes in what the server says of the rows of all shadows. With the first snapshot nothing else is there:
// then the table takes the place of the other one as well.
func (w *writer) swapRows() error {
	if there, err := w.exists(`_tide_stage_row`); err != nil || !there {
		return err
	}
	some, err := w.get(`SELECT 1 FROM _tide_row LIMIT 1`, nil, new(int))
	if err != nil {
		return err
	}
	if some {
		return w.exec(`INSERT INTO _tide_row SELECT * FROM _tide_stage_row`)
	}
	if err := w.exec(`DROP TABLE _tide_row`); err != nil {
		return err
	}
	return w.exec(`ALTER TABLE _tide_stage_row RENAME TO _tide_row`)
}
