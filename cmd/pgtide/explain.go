package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/install"
)

// explain puts an error on one line, and what PostgreSQL says beyond its message on lines of their own.
func explain(err error) string {
	text := oneLine(err.Error())
	var pgErr *pgconn.PgError
	var bookkeeping *install.BookkeepingError
	switch {
	case errors.As(err, &bookkeeping):
		return text + "\nHINT: " + bookkeeping.Hint
	case !errors.As(err, &pgErr):
		return text
	}
	if pgErr.Detail != "" {
		text += "\nDETAIL: " + oneLine(pgErr.Detail)
	}
	hint := oneLine(pgErr.Hint)
	switch pgErr.Code {
	case "3F000", "42P01", "42883": // no such schema, table, function
		hint = "Is pgtide installed in this database? pgtide migrate up installs or upgrades it."
	}
	if hint != "" {
		text += "\nHINT: " + hint
	}
	return text
}

// oneLine also drops lines that are there twice: a host that resolves to two addresses fails twice.
func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}
