package client

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The rows of a snapshot that is being fetched lie in tables of their own, in the order they came, one
// for each table: the values as SQLite holds them, and nothing indexed.

func (t *table) stageName() string { return fmt.Sprintf("_tide_stage_%d", t.id) }

// stageColumns are c0, c1 …
func (t *table) stageColumns() []string {
	names := make([]string, len(t.spec.Columns))
	for n := range names {
		names[n] = fmt.Sprintf("c%d", n)
	}
	return names
}

func (w *writer) dropStage() error {
	if err := w.exec(`DELETE FROM _tide_snapshot`); err != nil {
		return err
	}
	names, err := all(w, func(scan func(...any) error) (name string, err error) { return name, scan(&name) },
		`SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '_tide_stage_*'`)
	for _, name := range names {
		if err == nil {
			err = w.exec(`DROP TABLE ` + name)
		}
	}
	return err
}

// stage keeps a chunk.
func (w *writer) stage(taken *snapshot, from int64, got chunk) error {
	var session string
	var next int64
	found, err := w.get(`SELECT session, next FROM _tide_snapshot`, nil, &session, &next)
	if err != nil {
		return err
	}
	if !found || next != from || !strings.Contains(session, taken.ID) {
		return errOvertaken
	}
	for _, p := range got.parts {
		if err := w.store(p, taken.BundleID); err != nil {
			return err
		}
	}
	return w.exec(`UPDATE _tide_snapshot SET next = ?`, from+got.rows)
}

// stagedBeside are the values of a staged row that are none of its columns: key, buckets, lacks.
const stagedBeside = 3

func (w *writer) makeStage(t *table) error {
	return w.exec(`CREATE TABLE IF NOT EXISTS ` + t.stageName() + ` (key, buckets, lacks, ` + strings.Join(t.stageColumns(), ", ") + `)`)
}

func (w *writer) store(p part, version int64) (err error) {
	width := stagedBeside + len(p.table.spec.Columns)
	for at := 1; at < len(p.values); at += width {
		if p.values[at], err = w.setOfText(p.values[at].(string)); err != nil {
			return err
		}
	}
	shadowed, err := w.shadow(p.table)
	if err == nil && shadowed {
		if shadowed, err = w.fill(p, version); err == nil && !shadowed {
			err = w.unshadow(p.table)
		}
	}
	if err != nil || shadowed {
		return err
	}
	if err := w.makeStage(p.table); err != nil {
		return err
	}
	return w.insert(p.table.stageName(), "(?"+strings.Repeat(", ?", width-1)+")", width, p.values)
}

// insert writes rows of so many values each, many with one statement. Of one that fails some may stay: whoever
// calls it takes all back. So SQLite need not keep each page for it.
func (w *writer) insert(table, row string, width int, values []any) error {
	// The driver looks for each parameter among all of them: with many, that costs more than the rows.
	const most = 50
	for some := range slices.Chunk(values, max(1, most/width)*width) {
		if err := w.exec(`INSERT OR FAIL INTO `+table+` VALUES `+row+strings.Repeat(", "+row, len(some)/width-1), some...); err != nil {
			return err
		}
	}
	return nil
}

// staged says whether rows of a table came with the snapshot.
func (w *writer) staged(t *table) (bool, error) {
	return w.exists(t.stageName())
}

// stagedKeys is the condition that a row of _tide_row is not among them.
func (w *writer) stagedKeys(t *table) (string, error) {
	staged, err := w.staged(t)
	if err != nil || !staged {
		return "", err
	}
	name := t.stageName()
	return ` AND NOT EXISTS (SELECT 1 FROM ` + name + ` AS s WHERE s.key = r.key)`, w.exec(`CREATE INDEX IF NOT EXISTS ` + name + `_key ON ` + name + ` (key)`)
}

// applyStage brings the rows of one table.
func (w *writer) applyStage(t *table, version int64) error {
	staged, err := w.staged(t)
	if err != nil || !staged {
		return err
	}
	if loaded, err := w.load(t, version); err != nil || loaded {
		return err
	}
	if err := w.keep(t, version); err != nil {
		return err
	}
	type row struct {
		at int64
		inbound
	}
	for last, more := int64(0), true; more; {
		rows, err := all(w, func(scan func(...any) error) (r row, err error) {
			r.table, r.version, r.fetched, r.server = t, version, true, make(image, len(t.spec.Columns))
			var names string
			var lacks *string
			into := []any{&r.at, &r.key, &names, &lacks}
			for n := range r.server {
				into = append(into, &r.server[n])
			}
			if err := scan(into...); err != nil {
				return r, err
			}
			r.server.scanned()
			if lacks != nil {
				for n := range r.server {
					if strings.Contains(","+*lacks, fmt.Sprintf(",%d,", n)) {
						r.server[n] = absent{}
					}
				}
			}
			r.payload = t.payload(r.server)
			return r, json.Unmarshal([]byte(names), &r.buckets)
		}, `SELECT s.rowid, s.key, b.names, s.lacks, `+strings.Join(t.stageColumns(), ", ")+` FROM `+t.stageName()+` AS s JOIN _tide_set AS b USING (buckets) WHERE s.rowid > ? AND NOT EXISTS (SELECT 1 FROM _tide_stage_kept AS k WHERE k.at = s.rowid) ORDER BY s.rowid LIMIT 1000`, last)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := w.apply(r.inbound); err != nil {
				return err
			}
			last = r.at
		}
		more = len(rows) > 0
	}
	return w.exec(`DROP TABLE _tide_stage_kept`)
}

// keep passes over rows that are here as they were fetched: most of them, when a bucket is fetched anew.
func (w *writer) keep(t *table, version int64) error {
	same := make([]string, 0, len(t.key)+len(t.spec.Columns))
	for _, n := range t.key {
		same = append(same, fmt.Sprintf("o.%s = s.c%d", quoteName(t.spec.Columns[n].Name), n))
	}
	for n, c := range t.spec.Columns {
		same = append(same, fmt.Sprintf("o.%s IS s.c%d", quoteName(c.Name), n))
	}
	if err := w.exec(`CREATE TABLE _tide_stage_kept (at INTEGER PRIMARY KEY, key, buckets)`); err != nil {
		return err
	}
	if err := w.exec(`INSERT INTO _tide_stage_kept SELECT s.rowid, s.key, s.buckets FROM `+t.stageName()+` AS s CROSS JOIN `+t.name()+` AS o
		 WHERE `+strings.Join(same, " AND ")+` AND s.lacks IS NULL AND EXISTS (SELECT 1 FROM _tide_row AS r WHERE r.tab = ?1 AND r.key = s.key AND r.version <= ?2)
		   AND NOT EXISTS (SELECT 1 FROM _tide_dirty AS d WHERE d.tab = ?1 AND d.key = s.key) AND NOT EXISTS (SELECT 1 FROM _tide_inbox AS i WHERE i.tab = ?1 AND i.key = s.key)`, t.id, version); err != nil {
		return err
	}
	return w.exec(`UPDATE _tide_row SET version = ?2, buckets = k.buckets FROM _tide_stage_kept AS k WHERE _tide_row.tab = ?1 AND _tide_row.key = k.key`, t.id, version)
}

// load brings all rows at once, where there is nothing yet that they could meet, and says whether it did.
// The triggers are away meanwhile. A row that does not fit makes it be done one by one.
func (w *writer) load(t *table, version int64) (loaded bool, err error) {
	met, err := w.met(t)
	if err == nil && !met {
		met, err = w.get(`SELECT 1 FROM `+t.stageName()+` WHERE lacks IS NOT NULL`, nil, new(int))
	}
	if err != nil || met {
		return false, err
	}
	if err := w.exec(`SAVEPOINT load`); err != nil {
		return false, err
	}
	err = w.loadRows(t, version)
	if constraint(err) != 0 {
		if err := w.exec(`ROLLBACK TO load`); err != nil {
			return false, err
		}
		return false, w.exec(`RELEASE load`)
	}
	if err != nil {
		return false, err
	}
	return true, w.exec(`RELEASE load`)
}

func (w *writer) loadRows(t *table, version int64) error {
	triggers, err := all(w, func(scan func(...any) error) (name string, err error) { return name, scan(&name) },
		`SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name GLOB '_tide_*'`, t.local)
	if err != nil {
		return err
	}
	for _, name := range triggers {
		if err := w.exec(`DROP TRIGGER ` + name); err != nil {
			return err
		}
	}
	w.changed[t.id] = true
	if err := w.exec(`INSERT INTO ` + t.name() + ` (` + quoteNames(t.names()) + `) SELECT ` + strings.Join(t.stageColumns(), ", ") + ` FROM ` + t.stageName() + ` ORDER BY rowid`); err != nil {
		return err
	}
	if err := w.exec(`INSERT INTO _tide_row (tab, key, version, buckets) SELECT ?, key, ?, buckets FROM `+t.stageName()+` ORDER BY key`, t.id, version); err != nil {
		return err
	}
	if err := w.capture(t); err != nil {
		return err
	}
	return w.waitForParents(t, version)
}

// waitForParents looks at the rows whose parent did not come with them once all tables are there.
func (w *writer) waitForParents(t *table, version int64) error {
	for _, p := range t.parents {
		orphans, err := all(w, func(scan func(...any) error) (in inbound, err error) {
			in.table, in.version = t, version
			return in, scan(&in.key)
		}, p.orphans)
		if err != nil {
			return err
		}
		for _, in := range orphans {
			if in.buckets, err = w.bucketsOf(in); err != nil {
				return err
			}
			w.page.written = append(w.page.written, in)
		}
	}
	return nil
}

func (w *writer) bucketsOf(in inbound) (buckets []string, err error) {
	var names string
	if found, err := w.get(`SELECT names FROM _tide_row JOIN _tide_set USING (buckets) WHERE tab = ? AND key = ?`, []any{in.table.id, in.key}, &names); err != nil || !found {
		return nil, err
	}
	return buckets, json.Unmarshal([]byte(names), &buckets)
}
