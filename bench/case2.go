package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

func init() {
	register(Case{
		Number: 2,
		Title:  "bulk: one statement over many rows",
		Limit:  "the same table without triggers",
		Run:    bulk,
	})
}

// Each round inserts, updates, deletes and copies the same rows, so that nothing but the measured
// statements has to be done.
func bulk(ctx context.Context, b *Bench) error {
	d, err := b.Database(ctx)
	if err != nil {
		return err
	}
	if err := createNotes(ctx, d); err != nil {
		return err
	}
	conn, err := d.Session(ctx)
	if err != nil {
		return err
	}
	rows := b.Size.Rows
	statement := func(text func(table string) string) (subject, limit Contender) {
		on := func(table string) Contender {
			return func(ctx context.Context, t *Trial) error { return execMeasured(ctx, t, conn, text(table)) }
		}
		return on(synced), on(bare)
	}
	comparison := func(what string, subject, limit Contender) Comparison {
		return Comparison{Variant: fmt.Sprintf("%s %d rows", what, rows), Subject: subject, Limit: limit, LimitName: "without triggers"}
	}
	var comparisons []Comparison
	subject, limit := statement(func(table string) string { return insertNotes(table, 1, int64(rows), owners) })
	comparisons = append(comparisons, comparison("insert", subject, limit))
	subject, limit = statement(func(table string) string {
		return "UPDATE " + table + " SET title = title || ' again', done = NOT done, updated_at = now()"
	})
	comparisons = append(comparisons, comparison("update", subject, limit))
	subject, limit = statement(func(table string) string { return "DELETE FROM " + table })
	comparisons = append(comparisons, comparison("delete", subject, limit))

	text := copyNotes(1, int64(rows))
	copying := comparison("copy", copyInto(conn, synced, text), copyInto(conn, bare, text))
	copying.After = func(ctx context.Context) error {
		_, err := d.Exec(ctx, "TRUNCATE "+synced+", "+bare)
		return err
	}
	return b.Compare(ctx, append(comparisons, copying)...)
}

func copyInto(conn *pgx.Conn, table string, text []byte) Contender {
	return func(ctx context.Context, t *Trial) error {
		return t.Measure(ctx, func() error {
			tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(text), "COPY "+table+" FROM STDIN")
			t.Rows += tag.RowsAffected()
			t.Bytes += int64(len(text))
			return err
		})
	}
}
