package cursortest

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/pgtest"
)

func exec(t testing.TB, db *pgtest.DB, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
}

func value[T any](t testing.TB, db *pgtest.DB, sql string, args ...any) T {
	t.Helper()
	rows, err := db.Query(context.Background(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

// state is the SQLSTATE of an error, "" for none.
func state(t testing.TB, err error) string {
	t.Helper()
	var pgErr *pgconn.PgError
	if err != nil && !errors.As(err, &pgErr) {
		t.Fatal(err)
	}
	if err == nil {
		return ""
	}
	return pgErr.Code
}

func code(t testing.TB, db *pgtest.DB, sql string, args ...any) string {
	t.Helper()
	_, err := db.Exec(context.Background(), sql, args...)
	return state(t, err)
}
