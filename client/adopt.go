package client

import "fmt"

// localColumn is a column of a table that the application made.
type localColumn struct {
	inKey, mustBeGiven bool
}

func (w *writer) columnsOf(table string) (map[string]localColumn, error) {
	rows, err := w.tx.QueryContext(w.ctx, `SELECT name, "notnull", dflt_value IS NOT NULL, pk, type FROM pragma_table_info(?)`, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err says it.
	var columns map[string]localColumn
	for rows.Next() {
		var name, kind string
		var notNull, standard bool
		var key int
		if err := rows.Scan(&name, &notNull, &standard, &key, &kind); err != nil {
			return nil, err
		}
		if columns == nil {
			columns = map[string]localColumn{}
		}
		columns[name] = localColumn{inKey: key > 0, mustBeGiven: notNull && !standard}
	}
	return columns, rows.Err()
}

// misfits is why a table of the application cannot be synced.
func (t *table) misfits(found map[string]localColumn) (errs []error) {
	synced := map[string]bool{}
	for _, c := range t.spec.Columns {
		synced[c.Name] = true
		if _, ok := found[c.Name]; !ok {
			errs = append(errs, fmt.Errorf("table %s lacks the column %s: add it (%s)", t.local, c.Name, sqliteType(c.Kind)))
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
