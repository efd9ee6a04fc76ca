package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/v1client"
)

var errDifferent = errors.New("not everybody holds what the database holds")

// What the tables hold for each bucket, in plain SQL that knows nothing of the log.
var (
	catalogue   = `SELECT product_id::text, row_to_json(p)::text FROM (SELECT product_id, name, price, encode(photo, 'base64') AS photo FROM shop.product) AS p`
	ofACustomer = map[string]string{
		"customer": `SELECT customer_id::text, row_to_json(c)::text FROM (SELECT customer_id, name, email, created_at FROM shop.customer WHERE customer_id = 7) AS c`,
		"purchase": `SELECT purchase_id::text, row_to_json(p)::text
			FROM (SELECT purchase_id, customer_id, note, status FROM shop.purchase WHERE customer_id = 7 AND deleted_at IS NULL) AS p`,
		"purchase_item": `SELECT product_id || ' ' || purchase_id, row_to_json(i)::text
			FROM (SELECT * FROM shop.purchase_item WHERE customer_id = 7) AS i`,
		"product": catalogue,
	}
)

func rowsOf(ctx context.Context, database *pgxpool.Pool, query string) (map[string]string, error) {
	rows := map[string]string{}
	err := pgx.BeginFunc(ctx, database, func(tx pgx.Tx) error {
		// The log is in UTC, whatever the session.
		if _, err := tx.Exec(ctx, `SET LOCAL TimeZone = 'UTC'`); err != nil {
			return err
		}
		result, err := tx.Query(ctx, query)
		if err != nil {
			return err
		}
		var key, payload string
		_, err = pgx.ForEachRow(result, []any{&key, &payload}, func() error { rows[key] = payload; return nil })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what the database holds: %w", err)
	}
	return rows, nil
}

// compare prints what everybody holds, and returns errDifferent when it is not the same.
func compare(ctx context.Context, database *pgxpool.Pool, global *reader, devices ...*device) error {
	var different []string
	var text strings.Builder
	fmt.Fprintf(&text, "%-14s", "")
	for _, d := range devices {
		fmt.Fprintf(&text, "  %8s", d.name)
	}
	fmt.Fprintf(&text, "  %8s  %8s\n", "reader", "database")
	line := func(name string, held map[string]map[string]string, columns ...string) {
		found := differences(name, held["database"], held, columns)
		different = append(different, found...)
		fmt.Fprintf(&text, "%-14s", name)
		for _, column := range columns {
			count := ""
			if held[column] != nil {
				count = fmt.Sprint(len(held[column]))
			}
			fmt.Fprintf(&text, "  %8s", count)
		}
		fmt.Fprintf(&text, "  %8d  %s\n", len(held["database"]), map[bool]string{true: "equal", false: "DIFFERENT"}[found == nil])
	}
	var columns []string
	for _, d := range devices {
		columns = append(columns, d.name)
	}
	columns = append(columns, "reader")
	for _, table := range tables {
		rows, err := rowsOf(ctx, database, ofACustomer[table.name])
		if err != nil {
			return err
		}
		held := map[string]map[string]string{"database": rows}
		if table.name == "product" {
			held["reader"] = global.rows
		}
		for _, d := range devices {
			if held[d.name], err = d.rows(ctx, table.name, table.key); err != nil {
				return err
			}
		}
		line(table.name, held, columns...)
	}
	say("", "%s", text.String())
	if different == nil {
		return nil
	}
	for i, text := range different {
		if i == 10 {
			fmt.Printf("and %d more\n", len(different)-i)
			break
		}
		fmt.Println(text)
	}
	return errDifferent
}

// differences names every row that somebody holds otherwise than the database does.
func differences(table string, want map[string]string, held map[string]map[string]string, columns []string) (found []string) {
	for _, column := range columns {
		rows := held[column]
		if rows == nil {
			continue
		}
		keys := maps.Clone(want)
		maps.Copy(keys, rows)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if canonical(rows[key]) != canonical(want[key]) {
				found = append(found, fmt.Sprintf("%s %s: %s holds %s, the database %s", table, key, column, orNothing(rows[key]), orNothing(want[key])))
			}
		}
	}
	return found
}

func canonical(payload string) string {
	text, err := v1client.Canonical(payload)
	if err != nil {
		return payload // no row is not JSON
	}
	return text
}

func orNothing(payload string) string {
	if payload == "" {
		return "no such row"
	}
	return payload
}
