package client

import (
	"fmt"
	"slices"
	"strings"
)

// localColumn is a column of a table that the application made.
type localColumn struct {
	inKey, mustBeGiven bool
	declared           string // its type
	collated           bool   // in the key, by another collation than the bytes
}

func (w *writer) columnsOf(table string) (map[string]localColumn, error) {
	rows, err := w.tx.QueryContext(w.ctx, `SELECT name, "notnull", dflt_value IS NOT NULL, pk, type,
		EXISTS (SELECT 1 FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS i WHERE l.origin = 'pk' AND i.key AND i.name = c.name AND i.coll <> 'BINARY') FROM pragma_table_info(?1) AS c`, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err says it.
	var columns map[string]localColumn
	for rows.Next() {
		var name, declared string
		var notNull, standard, collated bool
		var key int
		if err := rows.Scan(&name, &notNull, &standard, &key, &declared, &collated); err != nil {
			return nil, err
		}
		if columns == nil {
			columns = map[string]localColumn{}
		}
		columns[name] = localColumn{inKey: key > 0, mustBeGiven: notNull && !standard, declared: declared, collated: collated}
	}
	return columns, rows.Err()
}

// misfits is why a table of the application cannot be synced.
func (t *table) misfits(found map[string]localColumn) (errs []error) {
	synced := map[string]bool{}
	for _, c := range t.spec.Columns {
		synced[c.Name] = true
		column, ok := found[c.Name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("table %s lacks the column %s: add it (%s)", t.local, c.Name, sqliteType(c.Kind)))
		case !keeps(column.declared, c.Kind):
			errs = append(errs, fmt.Errorf("column %s of table %s is declared %s, by which SQLite would change values of the server (%s): declare it %s", c.Name, t.local, column.declared, c.Kind, sqliteType(c.Kind)))
		case column.collated:
			errs = append(errs, fmt.Errorf("the key column %s of table %s has a collation, by which keys are equal that are two at the server: leave it out", c.Name, t.local))
		}
	}
	keys := 0
	for name, column := range found {
		if column.inKey {
			keys++
		}
		if column.mustBeGiven && !synced[name] {
			errs = append(errs, fmt.Errorf("column %s of table %s is not synced, and NOT NULL without a default: rows of the server have no value for it", name, t.local))
		}
	}
	for _, name := range t.spec.PrimaryKey {
		if !found[name].inKey || keys != len(t.spec.PrimaryKey) {
			errs = append(errs, fmt.Errorf("the primary key of table %s must be (%s), as at the server", t.local, quoteNames(t.spec.PrimaryKey)))
			break
		}
	}
	return errs
}

// keeps says whether a column declared so keeps what the server has as it came: SQLite makes numbers of texts, and
// floats of integers, as the declared type has it (https://www.sqlite.org/datatype3.html, 3.1).
func keeps(declared, kind string) bool {
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(strings.ToUpper(declared), part) })
	}
	affinity := "NUMERIC"
	switch {
	case has("INT"):
		affinity = "INTEGER"
	case has("CHAR", "CLOB", "TEXT"):
		affinity = "TEXT"
	case has("BLOB") || declared == "":
		return true
	case has("REAL", "FLOA", "DOUBLE"):
		affinity = "REAL"
	}
	switch kind {
	case "integer", "boolean":
		return affinity == "INTEGER" || affinity == "NUMERIC"
	case "float":
		return affinity == "REAL"
	case "decimal", "text", "json", "array", "object":
		return affinity == "TEXT"
	}
	return true // bytes; times and UUIDs, which look like no number
}

// uniquesOf are the columns of each unique index beside the key.
func (w *writer) uniquesOf(table string) (uniques [][]string, err error) {
	rows, err := w.tx.QueryContext(w.ctx, `
		SELECT l.name, i.name FROM pragma_index_list(?) AS l, pragma_index_info(l.name) AS i
		 WHERE l."unique" AND l.origin <> 'pk' AND i.name IS NOT NULL ORDER BY l.name, i.seqno`, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err says it.
	last := ""
	for rows.Next() {
		var index, column string
		if err := rows.Scan(&index, &column); err != nil {
			return nil, err
		}
		if index != last {
			uniques, last = append(uniques, nil), index
		}
		uniques[len(uniques)-1] = append(uniques[len(uniques)-1], column)
	}
	return uniques, rows.Err()
}
